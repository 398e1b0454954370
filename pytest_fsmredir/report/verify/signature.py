"""Check the signature of a report's digests with ssh-keygen(1)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from pytest_fsmredir.errors import tail
from pytest_fsmredir.procs import run_any
from pytest_fsmredir.report.sums import NAMESPACE, SIGNATURE, SUMS
from pytest_fsmredir.report.verify.finding import Finding, note


def check_signature(directory: Path, signers: Path | None) -> Iterator[Finding]:
    """Check the signature of the file of digests.

    Args:
        directory: The directory of the report.
        signers: The reviewer's file of allowed signers (ssh-keygen(1), ALLOWED SIGNERS); None if
            any key may sign.
    """
    signature, program = directory / SIGNATURE, shutil.which("ssh-keygen")
    if not signature.is_file():
        text = f"not signed: there is no {SIGNATURE}, so anyone could have made the files"
        yield Finding(text, rejected=signers is not None)
    elif program is None:
        yield Finding("the signature cannot be checked: install openssh-client")
    else:
        yield from _checked(program, directory, signers)


def _checked(program: str, directory: Path, signers: Path | None) -> Iterator[Finding]:
    signature, signed = str(directory / SIGNATURE), ["-n", NAMESPACE, "-s"]
    text = (directory / SUMS).read_text(encoding="utf-8", errors="replace")
    if signers is None:
        argv = [program, "-Y", "check-novalidate", *signed, signature]
        status, out, error = run_any(argv, stdin=text)
        if status == 0:
            yield note(f"{_sentence(out)}; --signers FILE says whose keys may sign")
        else:
            yield Finding(f"the signature does not fit {SUMS}: {tail(error or out)}")
        return
    find = [program, "-Y", "find-principals", "-f", str(signers), "-s", signature]
    status, out, error = run_any(find)
    if status != 0 or not out.strip():
        yield Finding(f"the key of the signature is not in {signers}: {tail(error or out)}")
        return
    principal = out.splitlines()[0].strip()
    argv = [program, "-Y", "verify", "-f", str(signers), "-I", principal, *signed, signature]
    status, out, error = run_any(argv, stdin=text)
    if status == 0:
        yield note(f"signed by {principal}")
    else:
        yield Finding(f"the signature does not fit {SUMS}: {tail(error or out)}")


def _sentence(output: str) -> str:
    """Return what ssh-keygen printed, such as 'Good "fsmredir" signature with ED25519 key ...'."""
    return next(iter(output.splitlines()), "signed").strip()
