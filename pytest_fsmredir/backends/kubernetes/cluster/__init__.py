"""A cluster: its API, nodes, images and namespaces."""
