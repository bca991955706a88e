"""Baton: rehearse, then conduct, Amazon EKS upgrades."""
