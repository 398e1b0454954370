"""Choosing flows at the edges of a policy, and judging their fates by the oracle."""
