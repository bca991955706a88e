"""The twin over HTTP: EKS from the twin, the rest of AWS from moto, Kubernetes REST. Must not know the conductor."""
