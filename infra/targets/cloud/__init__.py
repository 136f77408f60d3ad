"""What has to stand under Kubernetes where nobody has a cluster yet: one file a cloud."""
