"""Sidecars: the programs that take the sidecar's role in a pod."""
