"""The container: fine-tunes and evaluates the trials of one request. Knows nothing of Kubernetes or sweeps."""
