"""(Snapshot, Target, Knowledge) -> Plan. Pure; must not know Terraform, gateways or the clock.

plan: the stages in order. notes: what to know beside them. store: the plan as a file, and whether the world has moved.
"""
