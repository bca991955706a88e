"""Rehearsals: the production conductor on a twin of the cluster, in virtual time. Must not know the real gateways."""
