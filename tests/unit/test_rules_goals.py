"""Flows that show each condition of handwritten rules both ways."""

from __future__ import annotations

import pytest

from pytest_fsmredir.model.flow import Direction
from pytest_fsmredir.probing.sendable import Reach, occurring, sendable
from pytest_fsmredir.rules.goals import Goal, goals, reached
from pytest_fsmredir.rules.passage import Model
from pytest_fsmredir.rules.pod import Surroundings
from pytest_fsmredir.rules.reading import read_text
from pytest_fsmredir.rules.seek import Seeker
from pytest_fsmredir.rules.space import Space
from pytest_fsmredir.rules.trace import follow

CLIENT = "198.51.100.20"


def seeker(*rules: str, table: str = "nat", chains: str = "") -> Seeker:
    text = "\n".join([f"*{table}", *chains.split("\n"), *rules, "COMMIT", ""])
    found, pod = read_text(text), Surroundings(closed=True)
    space = Space(4, pod.interfaces(found), pod.local(4))
    return Seeker(Model(found, space, pod))


def reach(made: Seeker) -> Reach:
    return Reach(made.space, made.model.surroundings, CLIENT, 65535)


def texts(wanted: list[Goal]) -> list[tuple[str, str, bool]]:
    """Return the rule's place, the condition that fails, and whether a packet reaches the goal."""
    return [
        (
            f"{goal.chain.name} #{goal.rule.number}",
            goal.condition.text if goal.condition else "",
            bool(goal.flows),
        )
        for goal in wanted
    ]


def test_each_condition_is_wanted_both_ways() -> None:
    """Catches: a condition that is shown only to hold, or a rule that is never shown to match."""
    rule = "-A OUTPUT -d 10.0.0.0/8 -p tcp -m tcp --dport 80 -j RETURN"
    made = seeker(rule)
    assert texts(goals(made, occurring(made))) == [
        ("OUTPUT #1", "", True),
        ("OUTPUT #1", "-d 10.0.0.0/8", True),
        ("OUTPUT #1", "-p tcp", True),
        ("OUTPUT #1", "--dport 80", True),
    ]


RULES = (
    "-A OUTPUT -p tcp -j OUT",
    "-A OUT -o lo -m owner ! --uid-owner 1500 -j RETURN",
    "-A OUT -m owner --uid-owner 1500 -j RETURN",
    "-A OUT -d 10.0.0.0/8 -j RETURN",
    "-A OUT -p tcp -m multiport --dports 6379,7070 -j RETURN",
    "-A OUT -m mark --mark 0x7/0xff -j RETURN",
    "-A OUT -p tcp -j REDIRECT --to-ports 15001",
    "-A PREROUTING -p tcp -m multiport --dports 15010,22 -j RETURN",
    "-A PREROUTING -s 192.0.2.0/24 -p tcp -j REDIRECT --to-ports 15003",
)


def test_flow_of_a_goal_reaches_it() -> None:
    """Catches: a flow that fails two conditions, or that an earlier rule takes."""
    made = seeker(*RULES, chains=":OUT - [0:0]")
    for goal in goals(made, sendable(made, reach(made))):
        for (direction, state), flows in goal.flows.items():
            packet = made.plainest(direction, flows, state)
            met = {reached(asked) for asked in follow(made.model, packet).asked}
            assert goal.key in met, f"{packet} for {goal.rule.text}: {goal.condition}"


@pytest.mark.parametrize(
    ("rules", "goal"),
    [
        (("-A OUTPUT -p tcp -j OUT", "-A OUT -p tcp -j RETURN"), ("OUT #1", "-p tcp")),
        (("-A OUTPUT -p udp -m udp --dport 1 -p tcp -j RETURN",), ("OUTPUT #1", "")),
        (("-A OUTPUT -j RETURN", "-A OUTPUT -p tcp -j OUT"), ("OUTPUT #2", "")),
        (("-A PREROUTING -m owner --uid-owner 1500 -j RETURN",), ("PREROUTING #1", "")),
    ],
    ids=["always true", "contradiction", "shadowed", "no owner at this hook"],
)
def test_impossible_goal_has_no_flow(rules: tuple[str, ...], goal: tuple[str, str]) -> None:
    """Catches: a condition that no packet can show, and that counts as not validated."""
    made = seeker(*rules, chains=":OUT - [0:0]")
    assert (*goal, True) not in texts(goals(made, occurring(made)))


def test_condition_that_is_not_understood_is_no_goal() -> None:
    """Catches: a flow that is chosen as if an unknown condition were known to hold."""
    made = seeker("-A OUTPUT -p tcp -m bpf --object-pinned x -j RETURN")
    found = texts(goals(made, occurring(made)))
    assert ("OUTPUT #1", "", False) in found


def test_stray_packets_are_among_the_flows() -> None:
    """Catches: rules for packets without a connection that count as unreachable."""
    made = seeker("-A INPUT -p tcp -m conntrack --ctstate INVALID -j DROP", table="filter")
    assert all(found for _, _, found in texts(goals(made, occurring(made))))


def test_flows_that_cannot_be_sent_are_left_out() -> None:
    """Catches: a flow with another interface, protocol or flag, which the suite cannot send."""
    made = seeker("-A OUTPUT -j RETURN")
    (goal,) = goals(made, sendable(made, reach(made)))
    for (direction, state), flows in goal.flows.items():
        packet = made.plainest(direction, flows, state)
        assert packet.interface in {"eth0", "lo"}
        assert packet.protocol in {1, 6, 17}
        assert direction in set(Direction)
