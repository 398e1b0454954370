"""Assemble the file of a pod from what people have saved: rules, a Pod and a MeshConfig."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_interface
from pathlib import Path
from typing import Any

import yaml

from pytest_fsmredir.cli.capture import parts
from pytest_fsmredir.errors import SettingsError
from pytest_fsmredir.model.capture import Capture, CapturedInterface
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.rules.errors import RulesError
from pytest_fsmredir.rules.pod import EXAMPLE_ADDRESSES, Surroundings
from pytest_fsmredir.rules.reading import read_text, saved_listings
from pytest_fsmredir.rules.ruleset import RuleSet

_USUAL = {
    4: "0: from all lookup local\n32766: from all lookup main",
    6: "0: from all lookup local\n32766: from ::/0 lookup main",
}
"""The routing rules of a pod whose file has routes alone."""


@dataclass(frozen=True, slots=True)
class Saved:
    """Saved files.

    Attributes:
        rules: Listings of ``iptables-save``, ``ip route`` and so on.
        pod: A Pod, or a mapping of annotations; None for none.
        mesh_config: A MeshConfig; None for none.
        addresses: Addresses of the pod; empty to take them from the routes or the Pod.
    """

    rules: Sequence[Path]
    pod: Path | None = None
    mesh_config: Path | None = None
    addresses: Sequence[str] = ()


def assembled(saved: Saved) -> Capture:
    """Return the pod that saved files describe.

    Raises:
        SettingsError: A file is not what its option says, or an address is wrong.
        RulesError: A line of the rules belongs to no known listing.
        ConfigurationError: A list has an invalid value.
    """
    listings, settings, rules = _rules_in(saved.rules)
    pod = pod_in(saved.pod)
    configuration = configuration_in(pod, saved.mesh_config)
    interfaces, gap = _interfaces(saved, rules, pod)
    return Capture(
        pod=parts.name_of(pod),
        interfaces=interfaces,
        users=parts.users_of(pod),
        annotations=configuration.annotations,
        traffic=configuration.traffic,
        settings=settings,
        listings=parts.kept_listings(listings),
        left_out=(*gap, *_gaps(listings, interfaces)),
    )


def _rules_in(files: Sequence[Path]) -> tuple[dict[str, str], dict[str, str], RuleSet]:
    """Return the listings in all files, the kernel settings, and the rules."""
    listings: dict[str, str] = {}
    settings: dict[str, str] = {}
    texts = []
    for file in files:
        try:
            text = file.read_text(encoding="utf-8")
            found, more = saved_listings(text, 6 if file.name.endswith(".v6") else 4)
        except OSError as why:
            raise RulesError(f"{file}: {why.strerror}") from None
        except UnicodeDecodeError:
            raise RulesError(f"{file}: it is not UTF-8 text") from None
        except RulesError as why:
            raise RulesError(f"{file}: {why}") from None
        for name, lines in found.items():
            listings[name] = f"{listings[name]}\n{lines}" if name in listings else lines
        settings |= more
        texts.append(text)
    for family in (4, 6):
        if f"route{family}" in listings and f"rule{family}" not in listings:
            texts.append(_USUAL[family])
    try:
        return listings, settings, read_text("\n".join(texts))
    except RulesError as why:
        raise RulesError(f"{', '.join(map(str, files))}: {why}") from None


def _interfaces(
    saved: Saved, rules: RuleSet, pod: Mapping[str, Any]
) -> tuple[tuple[CapturedInterface, ...], tuple[str, ...]]:
    """Return the interfaces of the pod, and what is only assumed about them."""
    for text in saved.addresses:
        try:
            ip_interface(text)
        except ValueError:
            raise SettingsError(
                f"--address {text!r} is not an address such as 10.1.2.3 or 10.1.2.3/24"
            ) from None
    if saved.addresses:
        return parts.interfaces_at(saved.addresses), ()
    status = [str(each["ip"]) for each in (pod.get("status") or {}).get("podIPs") or ()]
    around = Surroundings.of(rules, status)
    if around is not None:
        return tuple(
            CapturedInterface(name, parts.interfaces_at(owned)[0].addresses)
            for name, owned in around.addresses.items()
        ), ()
    if status:
        return parts.interfaces_at(status), ()
    return parts.interfaces_at(EXAMPLE_ADDRESSES), (
        f"the addresses of the pod, for which {' and '.join(EXAMPLE_ADDRESSES)} stand (give"
        " --address, or the output of 'ip route show table all')",
    )


def _gaps(listings: Mapping[str, str], interfaces: Sequence[CapturedInterface]) -> list[str]:
    """Return what the files do not tell about the rules of a pod."""
    families = {6 if ":" in host else 4 for each in interfaces for host in each.hosts}
    gaps = []
    for family in sorted(families):
        if not any(name.startswith(f"iptables{family}") for name in listings):
            gaps.append(f"the rules of iptables for IPv{family}, if there are any")
    if "nft" not in listings:
        gaps.append("tables of nft that iptables does not list, if there are any")
    return gaps


def configuration_in(pod: Mapping[str, Any], mesh_config: Path | None) -> Configuration:
    """Return the valid lists of a Pod and of the MeshConfig in a file.

    Raises:
        SettingsError: The file has no MeshConfig.
        ConfigurationError: A list has an invalid value.
    """
    annotations = {"metadata": {"annotations": parts.annotations_of(pod)}}
    found = Configuration.of(annotations, _mesh_config_in(mesh_config))
    found.policy()  # a wrong value is better found now than in a replay
    return found


def pod_in(file: Path | None) -> dict[str, Any]:
    """Return the Pod in a file. A file can also hold the annotations alone.

    Raises:
        SettingsError: The file has neither.
    """
    document = _document(file, "--annotations")
    if "metadata" in document or "spec" in document:
        return document
    return {"metadata": {"annotations": document.get("annotations", document)}}


def _mesh_config_in(file: Path | None) -> dict[str, Any]:
    document = _document(file, "--mesh-config")
    if file is not None and not isinstance(document.get("spec"), dict):
        raise SettingsError(f"--mesh-config {file}: it is not a MeshConfig: it has no spec")
    return document


def _document(file: Path | None, option: str) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as why:
        raise SettingsError(f"{option} {file}: {why.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as why:
        raise SettingsError(
            f"{option} {file}: it is not YAML: {' '.join(str(why).split())}"
        ) from None
    if not isinstance(document, dict):
        raise SettingsError(f"{option} {file}: it is not a mapping: give a Kubernetes object")
    return document
