"""The Kubernetes API of the twin's clusters over HTTP. Must not know AWS; it is handed KubeTwins by cluster name."""
