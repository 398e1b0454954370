"""Who plays the sidecar in a pod."""
