"""The digests of a report's files, in the format of sha256sum(1), and their signature."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

SUMS = "SHA256SUMS"
SIGNATURE = "SHA256SUMS.sig"
NAMESPACE = "fsmredir"
"""The namespace of the signature; see ssh-keygen(1), ``-Y sign``."""


def sums_text(digests: Mapping[str, str]) -> str:
    """Return the text of the file of digests.

    Args:
        digests: SHA-256 in hex digits, by the path of the file in the directory.
    """
    return "".join(f"{digests[name]}  {name}\n" for name in sorted(digests))


def digest_of(file: Path) -> str:
    """Return the SHA-256 of a file in hex digits."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def digests_of(files: Iterable[Path], directory: Path) -> dict[str, str]:
    """Return the digests of some files, by their path in the directory."""
    return {file.relative_to(directory).as_posix(): digest_of(file) for file in files}
