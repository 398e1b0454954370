"""Load a template of iptables rules into a pod according to the contract."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
from jinja2.meta import find_undeclared_variables
from jinja2.sandbox import ImmutableSandboxedEnvironment

from pytest_fsmredir.errors import SettingsError, tail
from pytest_fsmredir.implementations.base import (
    Completed,
    Hung,
    IptablesVariant,
    Refused,
    Target,
)
from pytest_fsmredir.implementations.environment import LISTS, contract_values
from pytest_fsmredir.model.features import ALL_FEATURES, Feature

NAMES = frozenset(
    {
        *LISTS.values(),
        *("pod_ip", "pod_ips", "proxy_uid", "inbound_port", "outbound_port", "iptables"),
        *("pod", "mesh_config"),
    }
)
"""The names that a template can use; the last two are the parsed documents of the contract."""

_FAMILY = {"iptables-restore": 4, "ip6tables-restore": 6}

_LOCK_WAIT = "--wait=5"  # as the kubelet; the contract does not specify it


class RulesFile:
    """Loads a rendered Jinja2 template with ``iptables-restore --noflush``.

    The template for IPv6 is in the same folder: ``rules.v6`` for ``rules.v4``, or ``NAME.v6`` for
    any ``NAME``. Without it, IPv6 is not claimed.

    Attributes:
        name: Name of the file.
        features: All optional features; without IPv6 if its template is missing.
        digest: SHA-256 of the files, as hex digits.
        sources: The text of each file, by a name that does not depend on the folder.
    """

    def __init__(self, path: Path) -> None:
        self.name = path.name
        ipv6_template = _ipv6_template(path)
        self.features = ALL_FEATURES if ipv6_template else ALL_FEATURES - {Feature.IPV6}
        self._environment = ImmutableSandboxedEnvironment(
            loader=jinja2.FileSystemLoader(path.parent),
            undefined=jinja2.StrictUndefined,
            autoescape=False,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        files = [
            ("iptables-restore", path),
            *([("ip6tables-restore", ipv6_template)] if ipv6_template else []),
        ]
        texts = [(program, file, _read(file)) for program, file in files]
        self._templates = [(program, self._compiled(text, file)) for program, file, text in texts]
        self.sources = {f"rules.v{_FAMILY[program]}": text for program, _, text in texts}
        self.digest = hashlib.sha256("\0".join(text for *_, text in texts).encode()).hexdigest()

    def program(self, target: Target) -> None:
        """Render and load the rules of the families of the pod's addresses.

        Raises:
            Refused: A template cannot be rendered for this pod, or the rules were rejected.
        """
        if target.iptables is IptablesVariant.NATIVE:
            raise Refused(
                f"{self.name} is input of iptables-restore, and the variant has no iptables"
            )
        families = {6 if ":" in address else 4 for address in target.addresses}
        wanted = [(name, each) for name, each in self._templates if _FAMILY[name] in families]
        rendered = [(name, _rendered(each, target)) for name, each in wanted]
        for name, rules in rendered:
            _require_loaded(name, target.run([name, "--noflush", _LOCK_WAIT], stdin=rules))

    def _compiled(self, text: str, file: Path) -> jinja2.Template:
        try:
            unknown = find_undeclared_variables(self._environment.parse(text)) - NAMES
            template = self._environment.from_string(text)
        except jinja2.TemplateSyntaxError as error:
            raise SettingsError(f"{file}:{error.lineno}: {error.message}") from None
        for name in sorted(unknown):
            raise SettingsError(
                f"{file}: the template uses {name!r}, which the contract does not have"
                f" (known: {', '.join(sorted(NAMES))})"
            )
        template.name = template.filename = str(file)
        return template


def _ipv6_template(path: Path) -> Path | None:
    candidates = [path.with_name(f"{path.name}.v6")]
    if path.suffix == ".v4":
        candidates.append(path.with_suffix(".v6"))
    return next((each for each in candidates if each.is_file()), None)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"rules file {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"rules file {path}: not UTF-8 text: {error.reason}") from None


def _rendered(template: jinja2.Template, target: Target) -> str:
    try:
        return template.render(dict(_context(target)))
    except (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise Refused(f"{template.name} could not be rendered: {error}") from None


def _context(target: Target) -> Iterator[tuple[str, Any]]:
    for name, value in contract_values(target).items():
        yield name, value if isinstance(value, str) else list(value)
    yield "pod", target.configuration.pod_document(target.name)
    yield "mesh_config", target.configuration.mesh_config_document()


def _require_loaded(program: str, done: Completed) -> None:
    if done.status is None:
        raise Hung(f"{program} did not end in time and was killed")
    if done.status != 0:
        raise Refused(f"{program} exited {done.status}: {tail(done.stderr)}")
