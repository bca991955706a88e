"""Events to verdicts: node health, workload scheduling, utilisation, blockers, the timeline.

Must not know what the conductor meant to do.
"""
