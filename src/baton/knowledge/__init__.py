"""Dated, sourced tables (data/*.json) and pure look-ups over them. Must not know clusters, gateways or the clock."""
