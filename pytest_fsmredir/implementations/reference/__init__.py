"""The built-in reference implementation: the seed's behaviour as iptables or nft rules."""

from __future__ import annotations

from pytest_fsmredir.implementations.reference.programming import Reference

__all__ = ["Reference"]
