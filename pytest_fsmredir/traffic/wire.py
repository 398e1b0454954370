"""The banner: one line in which the acceptor of a flow reports to the client what it saw.

Spaces separate its words, which is fast to write and parse for every flow:
``fsmredir SERIAL LISTENER LOCAL PORT PEER PORT ORIGINAL PORT``, with ``-`` for no original.
"""

from __future__ import annotations

from pytest_fsmredir.model.flow import Acceptance, Acceptor, Address

_MARK = "fsmredir"


def banner(acceptance: Acceptance) -> bytes:
    """Return an acceptance as one line."""
    local, peer = acceptance.local, acceptance.peer
    original = acceptance.original or Address("-", 0)
    return (
        f"{_MARK} {acceptance.serial} {acceptance.by.name} {local.host} {local.port}"
        f" {peer.host} {peer.port} {original.host} {original.port}\n"
    ).encode()


def from_banner(line: bytes) -> Acceptance:
    """Return the acceptance in a banner.

    Raises:
        ValueError: The line is not a banner, so a foreign program answered.
    """
    words = line.decode(errors="replace").split()
    if len(words) != 9 or words[0] != _MARK:
        raise ValueError(f"a foreign program answered: {line[:80]!r}")
    original = Address(words[7], int(words[8])) if words[7] != "-" else None
    return Acceptance(
        int(words[1]),
        Acceptor[words[2]],
        Address(words[3], int(words[4])),
        Address(words[5], int(words[6])),
        original,
    )
