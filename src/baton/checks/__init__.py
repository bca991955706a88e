"""Preflight checks: a registry and one module per subject. Must not read the world; it is handed a Snapshot."""
