"""Steps that several checks share. They set up and send; the checks judge."""

from __future__ import annotations

from ipaddress import ip_network

from pytest_fsmredir.backends.base import Place


def range_of(*places: Place) -> str:
    """Return the list of ranges that hold the addresses of some places and no others."""
    return ",".join(str(ip_network(place.address)) for place in places)
