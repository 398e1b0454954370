"""What a backend needs of a sidecar."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class SidecarProcess(Protocol):
    """Listens as uid 1500 on the reserved ports of one pod, and logs what it accepts.

    Attributes:
        forwarding: Pass captured flows on instead of answering them.
        services: Addresses that outbound forwarding replaces with others, as a proxy chooses an
            endpoint of a service.
    """

    forwarding: bool
    services: Mapping[str, str]

    def start(self) -> None:
        """Open every listener."""
        ...

    def stop(self) -> None:
        """Close every listener and every connection through it, as a sidecar that died."""
        ...
