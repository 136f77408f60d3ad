"""The Kubernetes target: a topology on well-kept operators, one file per concern."""
