"""Acquire the privilege to make network namespaces: as root, or in a new user namespace.

The process of a plain user moves into a user namespace in which it is root. This works only while
the process has a single thread, so it happens when pytest is configured, and only in the
controlling process: the workers of pytest-xdist are its children and inherit the namespace. Only a
conformance run is known to need it that early. Other tests get it when they first request a
fixture. This is too late in a worker, which starts threads before it loads plugins.
"""

from __future__ import annotations

import errno
import os
import pwd
import shlex
from collections.abc import Sequence
from pathlib import Path

from pytest_fsmredir import procs
from pytest_fsmredir.backends.netns.kernel import CLONE_NEWUSER, make_dumpable, unshare
from pytest_fsmredir.backends.netns.namespace import Namespace
from pytest_fsmredir.backends.netns.programs import find
from pytest_fsmredir.errors import PreflightError

_LEAST_IDS = 2001  # the highest user that the checks send as is 2000
_UNSHARED = ("unshare", "--user", "--map-auto", "--map-root-user")
_SUITE = ("pytest", "--fsm-conformance")

# Runs outside the new user namespace, from inside which only one id can be mapped.
_MAP = 'read -r go && newuidmap "$1" 0 "$2" 1 1 "$3" "$4" && newgidmap "$1" 0 "$5" 1 1 "$6" "$7"'


def acquire(mode: str, command: Sequence[str] = _SUITE) -> str:
    """Acquire the privileges, and return the mode: ``root`` or ``rootless``.

    Args:
        mode: ``auto``, ``root`` or ``rootless``.
        command: The user's command, for messages.

    Raises:
        PreflightError: No mode works; the message contains the command to run.
    """
    if mode == "rootless" or (mode == "auto" and os.geteuid() != 0):
        _enter_user_namespace(command)
        return "rootless"
    if os.geteuid() != 0:
        raise PreflightError("--fsm-privilege=root, but you are not root; run: sudo -E pytest ...")
    try:
        Namespace().close()
    except OSError as error:
        raise PreflightError(
            f"root may not make network namespaces here ({error}): the container or sandbox"
            " withholds CAP_SYS_ADMIN; start it with --privileged"
        ) from None
    return "root"


def id_range(file: Path, user: str, uid: int) -> tuple[int, int]:
    """Return (first, count) of a user's subordinate ids.

    Args:
        file: ``/etc/subuid`` or ``/etc/subgid``, see subuid(5).
        user: Login name.
        uid: User id, which the file may contain instead of the name.

    Raises:
        PreflightError: There is no range, or none that contains the sidecar's id.
    """
    lines = file.read_text().splitlines() if file.exists() else []
    for fields in (line.split(":") for line in lines):
        if len(fields) == 3 and fields[0] in (user, str(uid)) and int(fields[2]) >= _LEAST_IDS:
            return int(fields[1]), int(fields[2])
    raise PreflightError(
        f"user {user} has no range of at least {_LEAST_IDS} ids in {file};"
        f" run: sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}"
        " (or run pytest as root)"
    )


def _enter_user_namespace(command: Sequence[str]) -> None:
    """Move this process into a user namespace in which it is root and all needed ids exist."""
    uid, gid = os.getuid(), os.getgid()
    for tool in ("newuidmap", "newgidmap"):
        find(tool, "install it: sudo apt-get install uidmap (or run pytest as root)")
    user = _login(uid)
    numbers = (
        os.getpid(),
        uid,
        *id_range(Path("/etc/subuid"), user, uid),
        gid,
        *id_range(Path("/etc/subgid"), user, uid),
    )
    with procs.held(["/bin/sh", "-c", _MAP, "sh", *map(str, numbers)]) as mapper:
        try:
            unshare(CLONE_NEWUSER)
        except OSError as error:
            raise PreflightError(_refusal(error, command)) from None
        mapper.release()
    # The new credentials hide this process's /proc files from its children until this call.
    make_dumpable()


def _login(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _refusal(error: OSError, command: Sequence[str]) -> str:
    if error.errno == errno.EINVAL:
        return (
            "cannot make a user namespace: this process already has several threads, those of a"
            " pytest-xdist worker, another plugin or a debugger; have one made before it starts,"
            f" run: {shlex.join([*_UNSHARED, *command])}"
        )
    return (
        f"cannot make a user namespace ({error}); a container or a kernel setting forbids it."
        " On Ubuntu run: sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0"
        " — or run pytest as root"
    )
