"""The pods of ReplicaSets as rows of arrays, and what becomes of them compiled: how a large rehearsal gets fast."""
