"""Pods of a real cluster."""
