"""Pods as network namespaces of this process: no container, no cluster, nothing left behind."""
