"""Command line questions about saved rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_fsmredir.__main__ import main

RULES = """\
*nat
:OUT - [0:0]
-A PREROUTING -p tcp -m multiport --dports 15010,15901:15904 -j RETURN
-A PREROUTING -p tcp -j REDIRECT --to-ports 15003
-A OUTPUT -p tcp -j OUT
-A OUT -o lo -m owner ! --uid-owner 1500 -j RETURN
-A OUT -o lo ! -d 127.0.0.1/32 -j REDIRECT --to-ports 15003
-A OUT -m owner --uid-owner 1500 -j RETURN
-A OUT -p tcp -m tcp --dport 6379 -j RETURN
-A OUT -p tcp -j REDIRECT --to-ports 15001
COMMIT
"""
REDIS = "flomesh.io/outbound-port-exclusion-list=6379"


@pytest.fixture
def saved(tmp_path: Path) -> str:
    """A file of rules that exclude one port."""
    file = tmp_path / "rules.v4"
    file.write_text(RULES)
    return str(file)


def test_equal_rules_are_proved(saved: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches: a difference between equal rules, or its exit status."""
    assert main(["rules", "check", saved, "--annotation", REDIS]) == 0
    assert "proved for every address, port and user (IPv4" in capsys.readouterr().out


def test_difference_is_shown_with_its_rule(saved: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches: a difference without the flow or the rule that causes it."""
    assert main(["rules", "check", saved]) == 1
    out = capsys.readouterr().out
    assert "1 difference found" in out
    assert "MUST SPEC-1.1: tcp from 10.244.0.10:40000 to 198.51.100.10:6379 by uid 1000" in out
    assert "expected captured outbound; these rules: direct" in out
    assert "decided by line 9: -A OUT -p tcp -m tcp --dport 6379 -j RETURN" in out


def test_path_shows_each_rule_on_the_way(saved: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches: a path that does not say why a rule did not match."""
    assert main(["rules", "path", saved, "--out", "10.1.2.3:443", "--uid", "1000"]) == 0
    out = capsys.readouterr().out
    assert "→ OUT" in out
    assert "no: --uid-owner 1500" in out
    assert "no: --dport 6379" in out
    assert "captured outbound (by line 10)" in out
    assert "expected: captured outbound (SPEC-1.1, MUST)" in out


def test_path_of_an_inbound_packet(saved: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches: an inbound packet that is traced as an outbound one."""
    assert main(["rules", "path", saved, "--in", "15901"]) == 0
    assert "direct" in capsys.readouterr().out
    assert main(["rules", "path", saved, "--in", "[fd00:10:244::a]:80"]) == 1
    assert "expected: captured inbound" in capsys.readouterr().out


def test_mesh_config_is_read(saved: str, tmp_path: Path) -> None:
    """Catches: a list of the MeshConfig that is not read."""
    config = tmp_path / "mesh.yaml"
    config.write_text("spec: {traffic: {outboundPortExclusionList: [6379]}}\n")
    assert main(["rules", "check", saved, "--mesh-config", str(config)]) == 0


def test_diff_names_the_flows_that_change(
    saved: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches: a change of rules that silently changes flows, or a diff without changed flows."""
    new = tmp_path / "new.v4"
    new.write_text(RULES.replace("6379", "6380"))
    assert main(["rules", "diff", saved, str(new)]) == 1
    out = capsys.readouterr().out
    assert ":6379 by uid 1000" in out
    assert ":6380 by uid 1000" in out
    assert "2 changes" in out
    new.write_text(RULES.replace("--dport 6379", "--dport 6379:6379"))
    assert main(["rules", "diff", saved, str(new)]) == 0
    assert "no flow changes" in capsys.readouterr().out


def test_show_names_unknown_conditions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches: a condition that is silently left out."""
    file = tmp_path / "rules.v4"
    file.write_text(RULES.replace("-A OUT -m owner", "-A OUT -m bpf --object-pinned x -m owner"))
    assert main(["rules", "show", str(file)]) == 0
    out = capsys.readouterr().out
    assert "#3    -A OUT -m bpf" in out
    assert "not understood: line 8: -m bpf --object-pinned x" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "nowhere"], "nowhere: No such file"),
        (["check", "{saved}", "--annotation", "x"], "--annotation 'x' is not NAME=VALUE"),
        (["check", "{saved}", "--annotation", REDIS + "00000"], "is not a port"),
        (["check", "{saved}", "--address", "x"], "--address 'x' is not an IP address"),
        (["check", "{saved}", "--mesh-config", "{saved}"], "--mesh-config"),
        (["path", "{saved}", "--out", "10.1.2.300:5"], "impossible packet"),
        (
            ["path", "{saved}", "--out", "10.1.2.3:5", "--protocol", "tpc"],
            "impossible packet",
        ),
    ],
)
def test_bad_input_is_named(
    arguments: list[str], message: str, saved: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches: a traceback, or an exit status that means "differences"."""
    assert main(["rules", *(text.format(saved=saved) for text in arguments)]) == 2
    assert message in capsys.readouterr().err


def inet(first: str, *rules: str) -> str:
    """An nft table of both IP versions whose chain ``four`` gets the packets of one jump."""
    where = '"family": "inet", "table": "mesh"'
    base = '"type": "filter", "hook": "output", "prio": 0, "policy": "accept"'
    jump = '{"jump": {"target": "four"}}'
    items = [
        f'{{"chain": {{{where}, "name": "out", {base}}}}}',
        f'{{"chain": {{{where}, "name": "four"}}}}',
        f'{{"rule": {{{where}, "chain": "out", "expr": [{first}{jump}]}}}}',
        *(f'{{"rule": {{{where}, "chain": "four", "expr": [{rule}]}}}}' for rule in rules),
    ]
    return f'{{"nftables": [{", ".join(items)}]}}\n'


IPV4 = '{"match": {"op": "==", "left": {"meta": {"key": "nfproto"}}, "right": "ipv4"}}, '
DROP = '{"drop": null}'


def test_rule_that_acts_in_one_ip_version_acts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches: a rule of an nft table of both IP versions that "never acts", but drops IPv4."""
    file = tmp_path / "rules.json"
    file.write_text(inet(IPV4, DROP))
    main(["rules", "check", str(file)])
    assert "never acts" not in capsys.readouterr().out


def test_rule_that_acts_in_no_ip_version_is_named_for_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches: a rule that no packet reaches, and of which the command says nothing."""
    file = tmp_path / "rules.json"
    file.write_text(inet("", DROP, '{"accept": null}'))
    main(["rules", "check", str(file)])
    found = [line for line in capsys.readouterr().out.splitlines() if "never acts" in line]
    assert [line.split(":")[0] for line in found] == ["never acts in IPv4", "never acts in IPv6"]
