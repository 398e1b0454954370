from __future__ import annotations

import os
from collections.abc import Sequence
from ipaddress import ip_network

import pytest

from pytest_fsmredir.errors import ConfigurationError
from pytest_fsmredir.implementations.base import Completed, Refused
from pytest_fsmredir.implementations.reference.command import main, policy_from, sidecar_from
from pytest_fsmredir.implementations.reference.programming import apply, families_of
from pytest_fsmredir.implementations.reference.rules import (
    NOTHING,
    Family,
    RuleSet,
    RuleSets,
    SidecarPorts,
    Table,
    creation,
    multiport_groups,
    read_back,
    reject_unsupported,
    rule_sets,
    transition,
)
from pytest_fsmredir.model.policy import Policy

FULL = Policy(
    outbound_ip_range_exclusion_list=(ip_network("10.0.0.0/8"), ip_network("fd00::/8")),
    outbound_ip_range_inclusion_list=(ip_network("10.0.0.0/7"), ip_network("fc00::/7")),
    outbound_port_exclusion_list=tuple(range(6000, 6020)),
    inbound_port_exclusion_list=tuple(range(7000, 7020)),
    network_interface_exclusion_list=("eth1",),
)
OTHERS = "-A OUTPUT -d 192.0.2.1/32 -p tcp -j DNAT --to-destination 192.0.2.2"


def rules(
    policy: Policy, family: Family = Family.IPV4, sidecar: SidecarPorts | None = None
) -> RuleSet:
    return every(policy, family, sidecar)[Table.NAT]


def every(
    policy: Policy, family: Family = Family.IPV4, sidecar: SidecarPorts | None = None
) -> RuleSets:
    return rule_sets(policy, sidecar or SidecarPorts(), family)


def in_chain(found: RuleSet, name: str) -> list[str]:
    prefix = f"-A {name} "
    return [rule.removeprefix(prefix) for rule in found.rules if rule.startswith(prefix)]


def listing(*lines: str) -> str:
    return "\n".join(["*nat", ":OUTPUT ACCEPT [0:0]", *lines, "COMMIT", ""])


def ports_of(rule: str) -> list[int]:
    words = rule.split()
    return [int(port) for port in words[words.index("--dports") + 1].split(",")]


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 31, 100])
def test_every_port_is_in_a_group_that_fits_multiport(count: int) -> None:
    """Catches: a sixteenth port that breaks the restore, or that no rule matches."""
    ports = list(range(1, count + 1))

    groups = multiport_groups(ports)

    assert [port for group in groups for port in group] == ports
    assert all(1 <= len(group) <= 15 for group in groups)


def test_repeated_port_takes_one_slot() -> None:
    """Catches: duplicates that lengthen the rules."""
    assert multiport_groups([80, 443, 80]) == [(80, 443)]


def test_port_rules_match_every_excluded_port_of_their_direction() -> None:
    """Catches: a port lost when a list is split, or matched in the other direction."""
    found = rules(FULL)
    out, into = (
        {port for rule in in_chain(found, chain) if "--dports" in rule for port in ports_of(rule)}
        for chain in ("FSMREDIR_OUT", "FSMREDIR_IN")
    )

    assert out == set(range(6000, 6020))
    assert into == {15010, 15901, 15902, 15903, 15904, *range(7000, 7020)}


@pytest.mark.parametrize("family", Family)
def test_exemptions_never_use_accept(family: Family) -> None:
    """Catches: ACCEPT, which hides excluded traffic from later rules of other programs."""
    verdicts = {rule.split(" -j ")[1].split()[0] for rule in rules(FULL, family).rules}

    assert verdicts == {"RETURN", "REDIRECT", "FSMREDIR_TO_INBOUND", "FSMREDIR_TO_OUTBOUND"}


@pytest.mark.parametrize("family", Family)
def test_only_tcp_enters_our_chains(family: Family) -> None:
    """Catches: a jump without a protocol, which sends UDP to the redirect."""
    assert rules(FULL, family).jumps == (
        "-A PREROUTING -p tcp -j FSMREDIR_IN",
        "-A OUTPUT -p tcp -j FSMREDIR_OUT",
    )


@pytest.mark.parametrize(
    ("family", "own", "other"), [(Family.IPV4, ".", ":"), (Family.IPV6, ":", ".")]
)
def test_ranges_go_into_the_rules_of_their_family(family: Family, own: str, other: str) -> None:
    """Catches: an IPv6 range in the IPv4 rules, which makes the whole restore fail."""
    words = [rule.split() for rule in rules(FULL, family).rules]
    destinations = [line[line.index("-d") + 1] for line in words if "-d" in line]

    assert len(destinations) == 3  # rules for loopback, the exclusion and the inclusion
    assert all(own in text and other not in text for text in destinations)


def test_order_of_outbound_rules() -> None:
    """Catches: an order in which a list makes a loop, or an inclusion overrides an exclusion."""
    policy = Policy(
        outbound_ip_range_exclusion_list=(ip_network("10.1.0.0/16"),),
        outbound_ip_range_inclusion_list=(ip_network("10.0.0.0/8"),),
        outbound_port_exclusion_list=(6379,),
        network_interface_exclusion_list=("eth1",),
    )

    assert in_chain(rules(policy), "FSMREDIR_OUT") == [
        "-d 127.0.0.0/8 -j RETURN",
        "-o lo -m owner --uid-owner 1500 -j FSMREDIR_TO_INBOUND",
        "-o lo -j RETURN",
        "-m owner --uid-owner 1500 -j RETURN",
        "-o eth1 -j RETURN",
        "-d 10.1.0.0/16 -j RETURN",
        "-p tcp -m multiport --dports 6379 -j RETURN",
        "-d 10.0.0.0/8 -j FSMREDIR_TO_OUTBOUND",
    ]


def test_inbound_exceptions_come_before_the_capture() -> None:
    """Catches: an exception that is never reached, or that matches the outgoing interface."""
    policy = Policy(inbound_port_exclusion_list=(6379,), network_interface_exclusion_list=("eth1",))

    assert in_chain(rules(policy), "FSMREDIR_IN") == [
        "-i eth1 -j RETURN",
        "-p tcp -m multiport --dports 15010,15901,15902,15903,15904,6379 -j RETURN",
        "-j FSMREDIR_TO_INBOUND",
    ]


def test_inclusion_of_one_family_captures_nothing_of_the_other() -> None:
    """Catches: an IPv4-only list that counts as no list for IPv6, so that all IPv6 is captured."""
    policy = Policy(outbound_ip_range_inclusion_list=(ip_network("10.0.0.0/8"),))

    outbound = in_chain(rules(policy, Family.IPV6), "FSMREDIR_OUT")

    assert not [rule for rule in outbound if "FSMREDIR_TO_OUTBOUND" in rule]


def test_sidecar_given_by_the_contract_is_used() -> None:
    """Catches: hard-coded numbers of the seed where the contract's variables differ."""
    found = rules(Policy(), sidecar=SidecarPorts(uid=7, inbound_port=8, outbound_port=9))

    assert in_chain(found, "FSMREDIR_TO_INBOUND") == ["-p tcp -j REDIRECT --to-ports 8"]
    assert in_chain(found, "FSMREDIR_TO_OUTBOUND") == ["-p tcp -j REDIRECT --to-ports 9"]
    assert "-m owner --uid-owner 7 -j RETURN" in in_chain(found, "FSMREDIR_OUT")


@pytest.mark.parametrize("name", ["eth+", "+", "e+h", 'a"b', "a\\b"])
def test_interface_name_with_a_wildcard_is_refused(name: str) -> None:
    """Catches: ``eth+`` used as a wildcard, which exempts every interface instead of one."""
    with pytest.raises(ConfigurationError, match="can't be written in a rule"):
        reject_unsupported(Policy(network_interface_exclusion_list=(name,)), SidecarPorts())


@pytest.mark.parametrize("port", [15000, 15001, 15003])
def test_exclusion_of_the_sidecars_own_port_is_refused(port: int) -> None:
    """Catches: an inbound exclusion that opens the admin interface to the network."""
    with pytest.raises(ConfigurationError, match=f"inbound port {port} can't be excluded"):
        reject_unsupported(Policy(inbound_port_exclusion_list=(port,)), SidecarPorts())


def test_stray_segments_are_dropped_except_where_inbound_is_exempt() -> None:
    """Catches: a drop of excluded, loopback, UDP or forwarded packets."""
    policy = Policy(inbound_port_exclusion_list=(6379,), network_interface_exclusion_list=("eth1",))
    found = every(policy)[Table.MANGLE]

    assert found.jumps == ("-A INPUT -p tcp -m conntrack --ctstate INVALID -j FSMREDIR_STRAY",)
    assert in_chain(found, "FSMREDIR_STRAY") == [
        "-i lo -j RETURN",
        "-i eth1 -j RETURN",
        "-p tcp -m multiport --dports 15010,15901,15902,15903,15904,6379 -j RETURN",
        "-j DROP",
    ]


@pytest.mark.parametrize("table", Table)
def test_creation_fails_if_the_chains_exist(table: Table) -> None:
    """Catches: ``:CHAIN`` lines in the first attempt, which double the jumps in a second run."""
    lines = creation(every(Policy())).splitlines()
    start, chains = lines.index(f"*{table}"), every(Policy())[table].chains

    assert lines[start + 1 : start + 1 + len(chains)] == [f"-N {chain}" for chain in chains]
    assert lines[-1] == "COMMIT"
    assert lines.count("COMMIT") == 2


def test_redirection_is_loaded_last() -> None:
    """Catches: a restore that fails half-way and leaves the redirection without the rest."""
    lines = creation(every(Policy())).splitlines()

    assert [line for line in lines if line.startswith("*")] == ["*mangle", "*nat"]


@pytest.mark.parametrize("table", Table)
def test_listing_of_created_chains_is_read_back(table: Table) -> None:
    """Catches: our own chains taken for those of other programs, or the reverse."""
    wanted = every(FULL)[table]
    chains = [f":{chain} - [0:0]" for chain in wanted.chains]

    found = read_back(listing(*chains, *wanted.jumps, OTHERS, *wanted.rules))

    assert found == wanted


def test_comment_that_mentions_our_chain_is_not_ours() -> None:
    """Catches: a foreign rule deleted because its comment mentions our chain."""
    rule = '-A OUTPUT -m comment --comment "was -j FSMREDIR_OUT" -j RETURN'

    assert read_back(listing(rule)) == RuleSet()


def test_replacement_keeps_correct_jumps_in_place() -> None:
    """Catches: a jump that is appended again, and so moves behind the rules of other programs."""
    lines = transition(every(FULL), every(Policy())).splitlines()

    assert not [line for line in lines if "PUT " in line or "PREROUTING" in line]


def test_replacement_leaves_an_unchanged_table_alone() -> None:
    """Catches: a moment without the drop of stray segments in a run that changes nothing."""
    changed = Policy(outbound_port_exclusion_list=(80,))

    assert transition(every(Policy()), every(changed)).splitlines()[0] == "*nat"


def test_replacement_leaves_one_of_several_equal_jumps() -> None:
    """Catches: jumps that accumulate with every run."""
    wanted = rules(Policy())
    jump = wanted.jumps[1]
    found = {**NOTHING, Table.NAT: RuleSet(wanted.chains, (), (jump, jump))}
    lines = transition(found, every(Policy())).splitlines()

    assert lines.count(jump.replace("-A", "-D", 1)) == 2
    assert lines.count(jump) == 1


def test_removal_touches_only_our_chains() -> None:
    """Catches: a clean-up that flushes the table or another program's chain."""
    lines = transition(every(FULL), NOTHING).splitlines()
    named = [line for line in lines if not line.startswith("*") and line != "COMMIT"]

    assert all("FSMREDIR_" in line for line in named)
    assert [line for line in lines if line.startswith("-X")] == [
        f"-X {chain}" for table in Table for chain in every(FULL)[table].chains
    ]


class Recorder:
    """Replaces the programs: records the calls, and fails on request."""

    def __init__(self, fails: str = "", listing: str = "") -> None:
        self.ran: list[tuple[str, str]] = []
        self.fails, self.listing = fails, listing

    def __call__(self, argv: Sequence[str], stdin: str = "") -> Completed:
        self.ran.append((argv[0], stdin))
        if argv[0] == self.fails:
            return Completed(1, "", "line 3 failed")
        return Completed(0, self.listing if argv[0].endswith("-save") else "", "")


def test_fresh_pod_needs_one_program_for_each_family() -> None:
    """Catches: a listing before every run, which doubles the cost of a pod."""
    run = Recorder()
    apply(Policy(), SidecarPorts(), families_of(["10.0.0.2", "fd00::2", "10.0.0.3"]), run)

    assert [program for program, _ in run.ran] == ["iptables-restore", "ip6tables-restore"]


def test_nothing_runs_for_a_configuration_that_is_refused() -> None:
    """Catches: rules that are set before the malformed value is found."""
    run = Recorder()
    with pytest.raises(Refused):
        apply(Policy(inbound_port_exclusion_list=(15000,)), SidecarPorts(), tuple(Family), run)

    assert run.ran == []


def test_failure_of_the_second_family_removes_the_first() -> None:
    """Catches: a pod with only IPv4 rules after a run that reported a refusal."""
    run = Recorder(fails="ip6tables-restore")
    with pytest.raises(
        Refused, match=r"ip6tables-restore exited 1: .* \(-A FSMREDIR_STRAY -i lo -j RETURN\)"
    ):
        apply(Policy(), SidecarPorts(), tuple(Family), run)

    assert run.ran[-1] == ("iptables-restore", transition(every(Policy()), NOTHING))


def test_truncated_listing_is_refused() -> None:
    """Catches: a listing without its jumps, so that they are added a second time."""
    run = Recorder(fails="iptables-restore", listing="-A FSMREDIR_OUT -j RETURN\nCOMMIT\n")
    with pytest.raises(Refused, match="did not list the whole mangle table"):
        apply(Policy(), SidecarPorts(), (Family.IPV4,), run)


def test_empty_variables_mean_no_list() -> None:
    """Catches: an empty variable of the contract read as one malformed item."""
    assert policy_from({"FSM_OUTBOUND_PORT_EXCLUSION_LIST": ""}) == Policy()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("FSM_OUTBOUND_PORT_EXCLUSION_LIST", "80,0"),
        ("FSM_INBOUND_PORT_EXCLUSION_LIST", "80,"),
        ("FSM_OUTBOUND_IP_RANGE_EXCLUSION_LIST", "10.0.0.1"),
        ("FSM_OUTBOUND_IP_RANGE_INCLUSION_LIST", "10.0.0.0/33"),
        ("FSM_NETWORK_INTERFACE_EXCLUSION_LIST", "a/b"),
    ],
)
def test_malformed_list_is_refused_with_the_name_of_its_variable(variable: str, value: str) -> None:
    """Catches: a message that does not name the variable with the bad value."""
    with pytest.raises(ConfigurationError, match=f"^{variable}: "):
        policy_from({variable: value})


@pytest.mark.parametrize(
    ("variable", "value"),
    [("FSM_PROXY_UID", "-1"), ("FSM_PROXY_UID", "4294967295"), ("FSM_INBOUND_PORT", "15001")],
)
def test_impossible_sidecar_is_refused(variable: str, value: str) -> None:
    """Catches: rules that exempt no user, or that send both directions to one listener."""
    with pytest.raises(ConfigurationError, match=variable):
        sidecar_from({variable: value})


def test_print_shows_both_families_without_privileges(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches: a print of the rules that needs root or a pod's variables."""
    for variable in [name for name in os.environ if name.startswith(("FSM_", "POD_"))]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("PATH", "")

    status = main(["print"])

    texts = [creation(every(Policy(), family)) for family in Family]
    assert status == 0
    assert capsys.readouterr().out == (
        f"# iptables-restore --noflush\n{texts[0]}# ip6tables-restore --noflush\n{texts[1]}"
    )


@pytest.mark.parametrize("argv", [[], ["install"], ["print", "now"]])
def test_wrong_usage_differs_from_a_refusal(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches: a typo in an init container that looks like a refused configuration."""
    assert main(argv) == 2
    assert "usage: reference" in capsys.readouterr().err
