"""The banner: one line in which whoever accepted a flow tells the client what it saw."""

from __future__ import annotations

import json

from pytest_fsmredir.spec.flow import Acceptance, Acceptor, Address


def banner(acceptance: Acceptance) -> bytes:
    """Return an acceptance as one line of JSON."""
    return json.dumps(to_wire(acceptance), separators=(",", ":")).encode() + b"\n"


def from_banner(line: bytes) -> Acceptance:
    """Return the acceptance that a banner tells of.

    Raises:
        ValueError: The line is no banner: somebody else answered.
    """
    document = json.loads(line)
    if not isinstance(document, dict) or "serial" not in document:
        raise ValueError(f"not a banner: {line[:80]!r}")
    return from_wire(document)


def to_wire(acceptance: Acceptance) -> dict[str, object]:
    """Return an acceptance as plain JSON values."""
    return {
        "serial": acceptance.serial,
        "by": acceptance.by.name,
        "local": acceptance.local,
        "peer": acceptance.peer,
        "original": acceptance.original,
    }


def from_wire(document: dict[str, object]) -> Acceptance:
    """Return the acceptance of :func:`to_wire`.

    Raises:
        ValueError: A field is missing or of the wrong shape.
    """
    try:
        return Acceptance(
            serial=int(str(document["serial"])),
            by=Acceptor[str(document["by"])],
            local=_address(document["local"]),
            peer=_address(document["peer"]),
            original=_address(document["original"]) if document["original"] else None,
        )
    except KeyError as missing:
        raise ValueError(f"banner without {missing}") from None


def _address(value: object) -> Address:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise ValueError(f"not an address: {value!r}")
    return Address(str(value[0]), int(value[1]))
