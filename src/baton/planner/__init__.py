"""(Snapshot, Target, Knowledge) -> Plan. Pure; must not know Terraform, gateways or the clock.

plan: the stages in order. path: where nodes roll. addons: which versions. images: which AMI. support: dates and cost.
store: the plan as a file, and whether the world has moved since.
"""
