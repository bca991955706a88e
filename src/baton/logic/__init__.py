"""The physics, pure: rolling, eviction, scheduling.

Decides from values; must not act, read a clock or draw random numbers unseeded.
"""
