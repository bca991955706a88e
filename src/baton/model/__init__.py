"""Frozen values: versions, the cluster, findings, plans, events. No I/O, no data tables; knows nothing above it."""
