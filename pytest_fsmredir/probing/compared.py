"""Compare the rules of pods with the document, once for checks that share a pod."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import Final, NamedTuple

from pytest_fsmredir.model.flow import Direction, Fate
from pytest_fsmredir.model.policy import Policy
from pytest_fsmredir.model.rule_use import RuleUse
from pytest_fsmredir.probing.rule_texts import forms
from pytest_fsmredir.probing.rule_use import RuleKey
from pytest_fsmredir.probing.sendable import asked, taste
from pytest_fsmredir.probing.validation import Confirmed, Validation
from pytest_fsmredir.rules import live
from pytest_fsmredir.rules.packet import SYN
from pytest_fsmredir.rules.pod import Surroundings
from pytest_fsmredir.rules.prove import Finding, Prover
from pytest_fsmredir.rules.seek import Seeker
from pytest_fsmredir.rules.trace import follow

_POD_LIMIT: Final = 8
"""Limit of pods whose diagrams are kept for further checks."""


@dataclass(slots=True)
class Compared:
    """The differences between the rules of a pod and the document.

    Attributes:
        findings: The differences.
        remarks: What was not compared.
        seeker: Finds packets for the rules.
        shown: What packets showed about the conditions of rules; None until they were sent.
        use: The use of the rules; None until it is asked for.
    """

    findings: tuple[Finding, ...]
    remarks: tuple[str, ...]
    seeker: Seeker
    shown: Validation | None = None
    use: RuleUse | None = None

    def predicts(self, finding: Finding, fate: Fate) -> bool:
        """Whether the model predicts the finding's fate for the packet that was actually sent.

        The kernel may have chosen another source. It repeats an unanswered SYN that requests ECN
        without the request.
        """
        packet = finding.packet
        if fate.client is None or packet.tcp_flags != SYN:
            return False
        source, port = fate.client
        sent = replace(packet, source=int(ip_address(source)), source_port=port)
        return follow(self.seeker.model, sent).ends == finding.path.ends


class Listed(NamedTuple):
    """The listings of a pod, and what they are compared with.

    Attributes:
        printed: The listings, without what changes from one reading to the next.
        policy: The pod's policy.
        family: IP version.
        addresses: The pod's addresses.
        highest_id: The highest user and group id that can own flows.
        beyond: A remote address that the pod's second interface leads to; None without one.
        client: The address of the client outside.
    """

    printed: str
    policy: Policy
    family: int
    addresses: tuple[str, ...]
    highest_id: int
    beyond: str | None
    client: str


@dataclass(slots=True)
class Learnt:
    """What the searches of a run learnt.

    Attributes:
        confirmed: The conditions of rules that the kernel confirmed.
        needed: The rules that decide the fate of a packet.
        forms: The forms of rules whose model was validated.
    """

    confirmed: Confirmed = field(default_factory=Confirmed)
    needed: set[RuleKey] = field(default_factory=set)
    forms: set[str] = field(default_factory=set)
    _pods: dict[Listed, Compared] = field(default_factory=dict)

    def compared(self, listed: Listed) -> Compared:
        """Return the differences between rules and document, once for checks that share a pod.

        Raises:
            RulesError: The rules are not understood.
        """
        found = self._pods.get(listed)
        if found is None:
            if len(self._pods) >= _POD_LIMIT:
                del self._pods[next(iter(self._pods))]
            found = self._pods[listed] = _compared(listed)
        return found

    def knows_forms(self, found: Compared) -> bool:
        """Whether the model of every rule's form was validated."""
        known = forms(found.seeker)
        return known is not None and known <= self.forms


def _compared(listed: Listed) -> Compared:
    """Return the differences between rules and document."""
    printed, policy, family, addresses, highest_id, beyond, client = listed
    rules = live.read(printed)
    around = Surroundings.of(rules, addresses, closed=True)
    around = around or Surroundings({"eth0": addresses}, closed=True)
    liked, further = taste(family, highest_id, beyond), asked(family, client, highest_id, beyond)
    prover = Prover(rules, policy, family, around, liked, further)
    proofs = [prover.prove(direction) for direction in Direction]
    findings = [f for proof in proofs for f in (*proof.findings, *proof.doubts)]
    remarks = [
        *rules.remarks,
        *("further differences were skipped" for p in proofs if p.more),
    ]
    return Compared(tuple(findings), tuple(remarks), prover.seeker)
