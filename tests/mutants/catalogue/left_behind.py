"""Leftovers in a pod in addition to the redirection, and pods of one IP version."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_fsmredir.implementations.base import Refused, Target
from tests.mutants.changes import first, for_family
from tests.mutants.correct import IN
from tests.mutants.loading import ROUTE_LOCALNET, Plan, UnlessAlone, followed_by, install
from tests.mutants.mutant import Mutant
from tests.mutants.rules import Rule

_LOST = "B68: a pod of one IP version loses what a pod of both has"


def _refusing_one_family(pod: Target, plans: Sequence[Plan]) -> None:
    if len(plans) == 1:
        raise Refused("this pod lacks an IP version")
    install(pod, plans)


def _without_lists_of_one_family(pod: Target, plans: Sequence[Plan]) -> None:
    if len(plans) == 1:
        plans = [Plan(each.family, each.rules, _without_exclusions) for each in plans]
    install(pod, plans)


def _without_exclusions(text: str) -> str:
    lines = text.splitlines(keepends=True)
    return "".join(line for line in lines if "--dports" not in line)


MUTANTS = (
    Mutant(
        name="localhost-routed",
        what="route_localnet is on: packets for 127.0.0.1 are accepted from the network",
        source="B70: kubernetes/kubernetes 92315 (CVE-2020-8558)",
        load=followed_by(ROUTE_LOCALNET),
        privileged=True,
    ),
    Mutant(
        name="localhost-routed-and-not-captured",
        what="route_localnet is on, and packets for 127.0.0.0/8 are not captured",
        source="B70: kubernetes/kubernetes 92315 (CVE-2020-8558)",
        rules=for_family(4, first(Rule("", IN, "-d 127.0.0.0/8"))),
        load=followed_by(ROUTE_LOCALNET),
        privileged=True,
    ),
    Mutant(
        name="forwarding-on",
        what="the pod forwards packets of both IP versions",
        source="B70: a setting copied from a node",
        load=followed_by(
            "cd /proc/sys/net && echo 1 >ipv4/ip_forward && echo 1 >ipv6/conf/all/forwarding"
        ),
        privileged=True,
    ),
    Mutant(
        name="ipv4-alone-unprogrammed",
        what="a pod without IPv6 gets no rules",
        source=_LOST,
        load=UnlessAlone(4),
    ),
    Mutant(
        name="ipv6-alone-unprogrammed",
        what="a pod without IPv4 gets no rules",
        source=_LOST,
        load=UnlessAlone(6),
    ),
    Mutant(
        name="single-family-refused",
        what="a pod of one IP version is refused",
        source=_LOST,
        load=_refusing_one_family,
    ),
    Mutant(
        name="single-family-without-ports",
        what="a pod of one IP version gets no excluded ports",
        source=_LOST,
        load=_without_lists_of_one_family,
    ),
)
