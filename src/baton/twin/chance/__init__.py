"""Chance by name: a generator of its own for every draw, so that one draw more never shifts another's.

Must not know what is drawn for, nor the clock.
"""
