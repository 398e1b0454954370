"""The interface between backends and sidecars."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class SidecarProcess(Protocol):
    """Listens as uid 1500 on the reserved ports of one pod, and logs what it accepts.

    Attributes:
        forwarding: Forward captured flows instead of answering them.
        services: Addresses that outbound forwarding replaces with others, as a proxy chooses an
            endpoint of a service.
    """

    forwarding: bool
    services: Mapping[str, str]

    def start(self) -> None:
        """Open every listener."""
        ...

    def stop(self) -> None:
        """Close every listener and every connection, as if the sidecar had died."""
        ...
