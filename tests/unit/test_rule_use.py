"""The use of rules in several pods: joined, sent between processes, printed and reported."""

from __future__ import annotations

import json
from importlib.resources import files

import jsonschema
import pytest

from pytest_fsmredir.model.outcomes import Outcome, Row, Variant
from pytest_fsmredir.model.rule_use import NamedRule, RuleUse
from pytest_fsmredir.report.rules import rule_lines, rules_document, uses

CAPTURE = NamedRule("nat OUT", 2, "-j CAPTURE")
EXEMPT = NamedRule("nat OUT", 1, "-d 10.0.0.0/8 -j RETURN")
MOVED = EXEMPT._replace(number=7)
VARIANT = Variant("netns", "nft", 4)


def row(*uses: RuleUse, check: str = "ALL-001", variant: Variant = VARIANT) -> Row:
    return Row(check=check, variant=variant, outcome=Outcome.PASS, rules=uses)


def lines(*uses: RuleUse) -> list[str]:
    return list(rule_lines([row(*uses)]))


def test_use_survives_the_way_from_a_worker() -> None:
    """Catches: results of pytest-xdist workers that lose the rules, or a type that JSON lacks."""
    idle = CAPTURE._replace(why="behind #1")
    sent = row(RuleUse(hit=(EXEMPT,), idle=(idle,), conditions=2, unshown=("a: b",)))
    assert Row.from_dict(json.loads(json.dumps(sent.as_dict()))) == sent


def test_rule_of_two_pods_counts_once() -> None:
    """Catches: a total that grows with the number of checks."""
    joined = RuleUse.joined([RuleUse(hit=(EXEMPT, CAPTURE)), RuleUse(hit=(MOVED, CAPTURE))])
    assert joined.rules == 2


@pytest.mark.parametrize("state", ["hit", "missed"])
def test_rule_that_acts_in_one_pod_is_not_idle(state: str) -> None:
    """Catches: a rule that is called dead because the lists of one pod overlap."""
    joined = RuleUse.joined([RuleUse(idle=(MOVED,)), RuleUse(**{state: (EXEMPT,)})])  # type: ignore[arg-type]
    assert (joined.idle, getattr(joined, state)) == ((), (EXEMPT,))


def test_rule_that_one_pod_needs_is_not_redundant() -> None:
    """Catches: advice to remove a rule that another pod needs."""
    spare = RuleUse(hit=(MOVED,), redundant=(MOVED,))
    assert RuleUse.joined([spare, RuleUse(hit=(EXEMPT,))]).redundant == ()
    assert RuleUse.joined([spare, RuleUse(idle=(EXEMPT,))]).redundant == (MOVED,)


def test_checks_that_share_a_pod_count_its_conditions_once() -> None:
    """Catches: more conditions than the pods have."""
    use = RuleUse(hit=(EXEMPT,), conditions=5)
    assert RuleUse.joined([use, use]).conditions == 5


def test_line_of_a_variant_is_short() -> None:
    """Catches: a dead or redundant rule that the terminal does not name."""
    idle = NamedRule("nat OUTPUT", 9, "-p tcp --dport 15000 -j ACCEPT", "behind #8")
    use = RuleUse(hit=(EXEMPT,), idle=(idle,), redundant=(EXEMPT,), conditions=2)
    assert lines(use) == [
        "netns nft IPv4: 1 of 2 hit; 1 never acts (OUTPUT #9: behind #8); 1 redundant (OUT #1)"
    ]


SHARED = NamedRule("mesh four", 1, "drop", shared=True)
IN_IPV4, IN_IPV6 = Variant("netns", "native", 4), Variant("netns", "native", 6)


@pytest.mark.parametrize(
    ("spare", "left"),
    [
        (RuleUse(idle=(SHARED,)), RuleUse()),
        (RuleUse(hit=(SHARED,), redundant=(SHARED,)), RuleUse(hit=(SHARED,))),
    ],
)
def test_rule_that_the_other_ip_version_needs_is_not_called_spare(
    spare: RuleUse, left: RuleUse
) -> None:
    """Catches: a rule of both IP versions that "never acts", although it acts in IPv4."""
    acting = row(RuleUse(hit=(SHARED,)), variant=IN_IPV4)
    assert uses([acting, row(spare, variant=IN_IPV6)])[IN_IPV6] == left


def test_rule_of_another_table_does_not_act_for_its_twin() -> None:
    """Catches: a dead rule of ip6tables that is hidden because iptables has the same line."""
    acting = row(RuleUse(hit=(EXEMPT,)), variant=IN_IPV4)
    (_, line) = rule_lines([acting, row(RuleUse(idle=(EXEMPT,)), variant=IN_IPV6)])
    assert line.endswith("1 never acts (OUT #1)")


def test_judgement_of_a_shared_rule_names_the_ip_version() -> None:
    """Catches: a rule that "never acts" in a run of one IP version, which did not try the other."""
    line, *_ = rule_lines([row(RuleUse(idle=(SHARED,)), variant=IN_IPV6)])
    assert line.endswith("1 never acts (four #1 in IPv6)")


def test_conditions_that_were_not_validated_are_counted() -> None:
    """Catches: a proof that claims packets which were not sent."""
    use = RuleUse(hit=(EXEMPT,), missed=(CAPTURE,), conditions=3, unshown=("OUT #1: -i x: why",))
    assert lines(use) == [
        "netns nft IPv4: 1 of 2 hit; 1 not hit (OUT #2); 2 of 3 conditions validated"
    ]


def test_rules_that_were_not_analysed_are_not_called_needed() -> None:
    """Catches: rules too complex to analyse, of which the line says that all of them act."""
    use = RuleUse(hit=(EXEMPT,), missed=(CAPTURE,), unknown="line 7: too complex")
    assert lines(RuleUse(hit=(EXEMPT,)), use) == [
        "netns nft IPv4: 1 of 2 hit; 1 not hit (OUT #2);"
        " which never act or are redundant is unknown: line 7: too complex"
    ]


def test_long_lists_are_cut() -> None:
    """Catches: a line that fills the terminal."""
    many = tuple(NamedRule("nat OUT", n, f"-d 10.0.0.{n} -j RETURN") for n in range(1, 9))
    (line,) = lines(RuleUse(hit=many, redundant=many))
    assert line.endswith("8 redundant (OUT #1, OUT #2, OUT #3, and 5 more)")


def test_document_meets_the_schema() -> None:
    """Catches: a report that its own schema refuses."""
    schema = json.loads((files("pytest_fsmredir.report") / "schema.json").read_text())
    idle = CAPTURE._replace(why="behind #1")
    use = RuleUse(
        hit=(EXEMPT,), idle=(idle,), redundant=(EXEMPT,), conditions=1, unshown=("x",), unknown="y"
    )
    made = rules_document([row(use)])
    jsonschema.validate(made, {**schema["properties"]["rules"], "$defs": schema["$defs"]})
    assert made[0]["unreachable"][0]["why"] == "behind #1"


def test_run_without_rules_prints_nothing() -> None:
    """Catches: a line about rules in a run on a cluster, where none were read."""
    assert lines() == []
