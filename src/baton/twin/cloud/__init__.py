"""Amazon EKS as the twin has it: clusters, node groups as Auto Scaling groups with instances, add-ons, updates.

Speaks the JSON shapes of the EKS API without knowing botocore, HTTP or moto; times are epoch seconds of the clock it
is handed. Must not know who calls: the emulator serves it, the rehearsal drives it in virtual time.
"""
