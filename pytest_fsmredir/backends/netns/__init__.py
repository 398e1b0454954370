"""Backend whose pods are network namespaces of this process; it needs no containers."""
