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
def test_every_port_is_in_a_group_that_multiport_can_hold(count: int) -> None:
    """Catches: the sixteenth port of a list breaking the restore, or falling between two rules."""
    ports = list(range(1, count + 1))

    groups = multiport_groups(ports)

    assert [port for group in groups for port in group] == ports
    assert all(1 <= len(group) <= 15 for group in groups)


def test_repeated_port_takes_one_slot() -> None:
    """Catches: doubles that lengthen the rules."""
    assert multiport_groups([80, 443, 80]) == [(80, 443)]


def test_port_rules_hold_every_excluded_port_of_their_direction() -> None:
    """Catches: a rule lost when a list is spread over several, or put into the other direction."""
    found = rules(FULL)
    out, into = (
        {port for rule in in_chain(found, chain) if "--dports" in rule for port in ports_of(rule)}
        for chain in ("FSMREDIR_OUT", "FSMREDIR_IN")
    )

    assert out == set(range(6000, 6020))
    assert into == {15010, 15901, 15902, 15903, 15904, *range(7000, 7020)}


@pytest.mark.parametrize("family", Family)
def test_left_alone_is_never_accept(family: Family) -> None:
    """Catches: ACCEPT, which hides excluded traffic from the rules of others that come later."""
    verdicts = {rule.split(" -j ")[1].split()[0] for rule in rules(FULL, family).rules}

    assert verdicts == {"RETURN", "REDIRECT", "FSMREDIR_TO_INBOUND", "FSMREDIR_TO_OUTBOUND"}


@pytest.mark.parametrize("family", Family)
def test_only_tcp_enters_our_chains(family: Family) -> None:
    """Catches: a jump without a protocol, by which UDP reaches the redirect."""
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

    assert len(destinations) == 3  # loopback, the exclusion and the inclusion
    assert all(own in text and other not in text for text in destinations)


def test_loopback_and_sidecar_come_before_the_lists_and_exclusions_before_inclusions() -> None:
    """Catches: an order in which a list can make a loop, or an inclusion undoes an exclusion."""
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
    """Catches: an exception that is never reached, or looks at the interface a packet leaves by."""
    policy = Policy(inbound_port_exclusion_list=(6379,), network_interface_exclusion_list=("eth1",))

    assert in_chain(rules(policy), "FSMREDIR_IN") == [
        "-i lo -j RETURN",
        "-i eth1 -j RETURN",
        "-p tcp -m multiport --dports 15010,15901,15902,15903,15904,6379 -j RETURN",
        "-j FSMREDIR_TO_INBOUND",
    ]


def test_inclusion_of_one_family_captures_nothing_of_the_other() -> None:
    """Catches: a list empty for IPv6 taken as no list, so that all of IPv6 is captured."""
    policy = Policy(outbound_ip_range_inclusion_list=(ip_network("10.0.0.0/8"),))

    outbound = in_chain(rules(policy, Family.IPV6), "FSMREDIR_OUT")

    assert not [rule for rule in outbound if "FSMREDIR_TO_OUTBOUND" in rule]


def test_sidecar_given_by_the_contract_is_used() -> None:
    """Catches: the seed's numbers hard-wired where the contract's variables say otherwise."""
    found = rules(Policy(), sidecar=SidecarPorts(uid=7, inbound_port=8, outbound_port=9))

    assert in_chain(found, "FSMREDIR_TO_INBOUND") == ["-p tcp -j REDIRECT --to-ports 8"]
    assert in_chain(found, "FSMREDIR_TO_OUTBOUND") == ["-p tcp -j REDIRECT --to-ports 9"]
    assert "-m owner --uid-owner 7 -j RETURN" in in_chain(found, "FSMREDIR_OUT")


@pytest.mark.parametrize("name", ["eth+", "+", "e+h", 'a"b', "a\\b"])
def test_interface_name_that_a_rule_would_read_otherwise_is_refused(name: str) -> None:
    """Catches: ``eth+`` honoured as a wildcard: every interface left alone instead of one."""
    with pytest.raises(ConfigurationError, match="can't be written in a rule"):
        reject_unsupported(Policy(network_interface_exclusion_list=(name,)), SidecarPorts())


@pytest.mark.parametrize("port", [15000, 15001, 15003])
def test_exclusion_of_the_sidecars_own_port_is_refused(port: int) -> None:
    """Catches: an inbound exclusion that opens the admin interface to the network."""
    with pytest.raises(ConfigurationError, match=f"inbound port {port} can't be excluded"):
        reject_unsupported(Policy(inbound_port_exclusion_list=(port,)), SidecarPorts())


def test_stray_segments_are_dropped_but_where_inbound_traffic_is_left_alone() -> None:
    """Catches: a drop of what is excluded, of loopback, of UDP, or of what is forwarded."""
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
def test_creation_makes_its_chains_so_that_it_fails_where_they_exist(table: Table) -> None:
    """Catches: ``:CHAIN`` lines in the first attempt, which would double the jumps of a second
    run.
    """
    lines = creation(every(Policy())).splitlines()
    start, chains = lines.index(f"*{table}"), every(Policy())[table].chains

    assert lines[start + 1 : start + 1 + len(chains)] == [f"-N {chain}" for chain in chains]
    assert lines[-1] == "COMMIT"
    assert lines.count("COMMIT") == 2


def test_redirection_is_loaded_last() -> None:
    """Catches: a restore that ends half-way with all of the redirection but nothing else."""
    lines = creation(every(Policy())).splitlines()

    assert [line for line in lines if line.startswith("*")] == ["*mangle", "*nat"]


@pytest.mark.parametrize("table", Table)
def test_listing_of_what_was_created_is_read_back(table: Table) -> None:
    """Catches: our own chains taken for those of others, or the reverse."""
    wanted = every(FULL)[table]
    chains = [f":{chain} - [0:0]" for chain in wanted.chains]

    found = read_back(listing(*chains, *wanted.jumps, OTHERS, *wanted.rules))

    assert found == wanted


def test_comment_that_mentions_our_chain_is_not_ours() -> None:
    """Catches: a foreign rule deleted for the words in its comment."""
    rule = '-A OUTPUT -m comment --comment "was -j FSMREDIR_OUT" -j RETURN'

    assert read_back(listing(rule)) == RuleSet()


def test_replacement_leaves_right_jumps_where_they_are() -> None:
    """Catches: a jump taken away and appended, which moves it behind the rules of others."""
    lines = transition(every(FULL), every(Policy())).splitlines()

    assert not [line for line in lines if "PUT " in line or "PREROUTING" in line]


def test_replacement_leaves_an_unchanged_table_alone() -> None:
    """Catches: a moment without the drop of stray segments in a run that does not concern it."""
    changed = Policy(outbound_port_exclusion_list=(80,))

    assert transition(every(Policy()), every(changed)).splitlines()[0] == "*nat"


def test_replacement_leaves_one_of_several_equal_jumps() -> None:
    """Catches: jumps that pile up with every run."""
    wanted = rules(Policy())
    jump = wanted.jumps[1]
    found = {**NOTHING, Table.NAT: RuleSet(wanted.chains, (), (jump, jump))}
    lines = transition(found, every(Policy())).splitlines()

    assert lines.count(jump.replace("-A", "-D", 1)) == 2
    assert lines.count(jump) == 1


def test_removal_names_nothing_but_ours() -> None:
    """Catches: a clean-up that flushes the table, or a chain that is not ours."""
    lines = transition(every(FULL), NOTHING).splitlines()
    named = [line for line in lines if not line.startswith("*") and line != "COMMIT"]

    assert all("FSMREDIR_" in line for line in named)
    assert [line for line in lines if line.startswith("-X")] == [
        f"-X {chain}" for table in Table for chain in every(FULL)[table].chains
    ]


class Recorder:
    """Stands for the programs: keeps what was run, fails where it is told to."""

    def __init__(self, fails: str = "", listing: str = "") -> None:
        self.ran: list[tuple[str, str]] = []
        self.fails, self.listing = fails, listing

    def __call__(self, argv: Sequence[str], stdin: str = "") -> Completed:
        self.ran.append((argv[0], stdin))
        if argv[0] == self.fails:
            return Completed(1, "", "line 3 failed")
        return Completed(0, self.listing if argv[0].endswith("-save") else "", "")


def test_fresh_pod_needs_one_program_for_each_family() -> None:
    """Catches: a listing taken before every run, which doubles the cost of a pod."""
    run = Recorder()
    apply(Policy(), SidecarPorts(), families_of(["10.0.0.2", "fd00::2", "10.0.0.3"]), run)

    assert [program for program, _ in run.ran] == ["iptables-restore", "ip6tables-restore"]


def test_nothing_runs_for_a_configuration_that_is_refused() -> None:
    """Catches: rules set before the malformed value is found."""
    run = Recorder()
    with pytest.raises(Refused):
        apply(Policy(inbound_port_exclusion_list=(15000,)), SidecarPorts(), tuple(Family), run)

    assert run.ran == []


def test_failing_second_family_takes_the_first_back() -> None:
    """Catches: a pod with IPv4 rules only, after a run that said it was refused."""
    run = Recorder(fails="ip6tables-restore")
    with pytest.raises(
        Refused, match=r"ip6tables-restore exited 1: .* \(-A FSMREDIR_STRAY -i lo -j RETURN\)"
    ):
        apply(Policy(), SidecarPorts(), tuple(Family), run)

    assert run.ran[-1] == ("iptables-restore", transition(every(Policy()), NOTHING))


def test_listing_cut_short_is_not_acted_on() -> None:
    """Catches: a listing without its jumps, by which they would be added a second time."""
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
def test_malformed_list_is_refused_by_its_variable(variable: str, value: str) -> None:
    """Catches: a message that leaves open which variable holds the bad value."""
    with pytest.raises(ConfigurationError, match=f"^{variable}: "):
        policy_from({variable: value})


@pytest.mark.parametrize(
    ("variable", "value"),
    [("FSM_PROXY_UID", "-1"), ("FSM_PROXY_UID", "4294967295"), ("FSM_INBOUND_PORT", "15001")],
)
def test_impossible_sidecar_is_refused(variable: str, value: str) -> None:
    """Catches: rules that exempt nobody, or give both directions to one listener."""
    with pytest.raises(ConfigurationError, match=variable):
        sidecar_from({variable: value})


def test_print_shows_both_families_without_privileges(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches: a look at the rules that needs root, or a pod's variables."""
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
def test_wrong_usage_is_told_apart_from_a_refusal(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches: a typing error in an init container that looks like a refused configuration."""
    assert main(argv) == 2
    assert "usage: reference" in capsys.readouterr().err
