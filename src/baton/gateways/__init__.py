"""The only place that talks to the outside: aws (boto3), kube (Kubernetes REST). Imported by cli only."""
