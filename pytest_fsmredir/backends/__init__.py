"""Backends: they create the pods that the checks run on."""
