"""Reach the probe agents in pods, and collect what they accepted."""
