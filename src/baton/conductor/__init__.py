"""The loop, its journal and its engines.

Must not import the twin: that proves a rehearsal exercises the production conductor.
"""
