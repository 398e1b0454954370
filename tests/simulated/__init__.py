"""A stand-in for a cluster: an API server with many nodes, whose pods are network namespaces."""
