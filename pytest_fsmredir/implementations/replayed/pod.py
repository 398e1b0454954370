"""Load what a captured pod has: settings, sets, rules, routes and routing rules."""

from __future__ import annotations

import hashlib
import json
import sys
from typing import TYPE_CHECKING, Final

from pytest_fsmredir.errors import BackendError
from pytest_fsmredir.implementations.base import IptablesVariant, Target
from pytest_fsmredir.implementations.replayed.listings import (
    RESTORE,
    has_effect,
    native,
    variant_of,
)
from pytest_fsmredir.implementations.replayed.routes import commands
from pytest_fsmredir.model.features import ALL_FEATURES, Feature
from pytest_fsmredir.model.listings import without_counters

if TYPE_CHECKING:
    from pytest_fsmredir.model.capture import Capture

_SET: Final = """\
import json, os, sys
for name, value in json.load(sys.stdin):
    path = "/proc/sys/" + name
    if os.path.exists(path):
        try:
            with open(path, "w") as file:
                file.write(value)
        except OSError as why:
            sys.exit(f"{name} = {value}: {why.strerror}")
"""
_PER_INTERFACE: Final = ("net.ipv4.conf.", "net.ipv6.conf.")
_PACKAGES: Final = {"ipset": "ipset", "nft": "nftables", "ip": "iproute2"}


class ReplayedPod:
    """Loads the rules and routes of a captured pod.

    Attributes:
        name: The name of the pod.
        features: All optional features; without IPv6 if the pod has no IPv6 address.
        digest: SHA-256 of the file, as hex digits.
        capture: The pod.
    """

    def __init__(self, capture: Capture) -> None:
        from pytest_fsmredir.model.capture_file import capture_text  # loads the YAML library

        self.capture = capture
        self.name = f"the captured pod {capture.pod}"
        self.features = ALL_FEATURES if 6 in capture.families else ALL_FEATURES - {Feature.IPV6}
        self.digest = hashlib.sha256(capture_text(capture).encode()).hexdigest()

    @property
    def iptables(self) -> IptablesVariant | None:
        """The variant of its rules; None if the file does not tell."""
        return variant_of(self.capture.listings)

    def program(self, target: Target) -> None:
        """Load everything into a pod that has the addresses and interfaces of the captured one.

        Raises:
            BackendError: A program is missing, or rejects what the file holds.
            CaptureError: A listing is malformed.
        """
        listings = self.capture.listings
        settings = json.dumps(sorted(map(_path, self.capture.settings.items()), key=_forwarding))
        _run(target, [sys.executable, "-I", "-S", "-c", _SET], settings, "settings")
        if sets := listings.get("ipset", "").strip():
            _run(target, ["ipset", "restore"], f"{sets}\n", "listings.ipset")
        for name, program in RESTORE.items():
            if has_effect(listings.get(name, "")):
                _run(target, list(program), without_counters(listings[name]), f"listings.{name}")
        if rules := native(listings):
            _run(target, ["nft", "-j", "-f", "-"], rules, "listings.nft")
        for family in self.capture.families:
            self._route(target, family)

    def _route(self, target: Target, family: int) -> None:
        capture = self.capture
        devices = [each.name for each in capture.interfaces]
        lines = list(commands(capture.listings, family, devices, capture.addresses))
        if lines:
            argv = ["ip", f"-{family}", "-batch", "-"]
            _run(target, argv, "\n".join([*lines, ""]), f"listings of routes, IPv{family}")


def _path(setting: tuple[str, str]) -> tuple[str, str]:
    """Return the path of a setting below ``/proc/sys``; an interface's name can have dots."""
    name, value = setting
    for prefix in _PER_INTERFACE:
        if name.startswith(prefix):
            interface, _, last = name.removeprefix(prefix).rpartition(".")
            return f"{prefix.replace('.', '/')}{interface}/{last}", value
    return name.replace(".", "/"), value


def _forwarding(setting: tuple[str, str]) -> tuple[bool, str]:
    """Return a key that sorts forwarding first: it sets others of the kernel's settings."""
    return "forward" not in setting[0], setting[0]


def _run(target: Target, argv: list[str], stdin: str, what: str) -> None:
    done = target.run(["/bin/sh", "-c", 'command -v "$1" >/dev/null', "sh", argv[0]])
    if done.status != 0:
        package = _PACKAGES.get(argv[0], "iptables")
        raise BackendError(
            f"the file has {what}, and the program {argv[0]} is missing; install it: apt-get"
            f" install {package}"
        )
    done = target.run(argv, stdin)
    if done.status != 0:
        raise BackendError(f"{what} of the file cannot be loaded: {argv[0]} {done.failure}")
