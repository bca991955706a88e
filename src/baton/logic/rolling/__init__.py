"""The managed node group update as a machine without I/O: values, the transition table and `step`, its diagram.

Must not know AWS, Kubernetes or any clock: time comes in as Timeout events, randomness as the order in an event.
"""
