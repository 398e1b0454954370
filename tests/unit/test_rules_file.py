"""A rules template as the implementation under test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pytest_fsmredir.errors import SettingsError
from pytest_fsmredir.implementations.base import Completed, Hung, IptablesVariant, Refused
from pytest_fsmredir.implementations.rules_file import RulesFile
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.model.features import ALL_FEATURES, Feature
from pytest_fsmredir.model.policy import ListName


@dataclass
class Pod:
    """A target that records the commands that it runs."""

    name: str = "pod1"
    addresses: tuple[str, ...] = ("10.77.0.1", "fd77::1")
    configuration: Configuration = field(default_factory=Configuration)
    iptables: IptablesVariant = IptablesVariant.NFT
    result: Completed = field(default_factory=lambda: Completed(0, "", ""))
    ran: list[tuple[Sequence[str], str]] = field(default_factory=list)

    def run(self, argv: Sequence[str], stdin: str = "") -> Completed:
        self.ran.append((argv, stdin))
        return self.result


def rules(tmp_path: Path, text: str, name: str = "rules.v4") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def test_lists_are_lists(tmp_path: Path) -> None:
    """Catches: a template that gets a comma-separated text and loops over its letters."""
    path = rules(
        tmp_path,
        "*nat\n{% for port in outbound_port_exclusion_list %}\n-A OUTPUT --dport {{ port }}\n"
        "{% endfor %}\nCOMMIT\n",
    )
    annotation = str(ListName.OUTBOUND_PORT_EXCLUSION.annotation)
    pod = Pod(addresses=("10.77.0.1",), configuration=Configuration({annotation: "80,443"}))
    RulesFile(path).program(pod)
    assert pod.ran == [
        (
            ["iptables-restore", "--noflush", "--wait=5"],
            "*nat\n-A OUTPUT --dport 80\n-A OUTPUT --dport 443\nCOMMIT\n",
        )
    ]


def test_template_knows_every_name_of_the_contract(tmp_path: Path) -> None:
    """Catches: a documented name that renders as nothing."""
    path = rules(
        tmp_path,
        "{{ pod_ip }} {{ pod_ips|join(',') }} {{ proxy_uid }} {{ inbound_port }}"
        " {{ outbound_port }} {{ iptables }} {{ pod.kind }} {{ mesh_config.kind }}"
        " {{ outbound_ip_range_exclusion_list }}{{ outbound_ip_range_inclusion_list }}"
        "{{ outbound_port_exclusion_list }}{{ inbound_port_exclusion_list }}"
        "{{ network_interface_exclusion_list }}",
    )
    pod = Pod()
    RulesFile(path).program(pod)
    ((_, text),) = pod.ran
    assert text == "10.77.0.1 10.77.0.1,fd77::1 1500 15003 15001 nft Pod MeshConfig [][][][][]"


@pytest.mark.parametrize(
    ("name", "twin"),
    [("rules.v4", "rules.v6"), ("rules.v4", "rules.v4.v6"), ("rules", "rules.v6")],
)
def test_twin_is_loaded_for_ipv6(tmp_path: Path, name: str, twin: str) -> None:
    """Catches: an IPv6 file that exists and is not loaded."""
    path = rules(tmp_path, "four", name)
    rules(tmp_path, "six", twin)
    pod = Pod()
    implementation = RulesFile(path)
    implementation.program(pod)
    assert [(argv[0], text) for argv, text in pod.ran] == [
        ("iptables-restore", "four"),
        ("ip6tables-restore", "six"),
    ]
    assert implementation.features == ALL_FEATURES


def test_without_a_twin_ipv6_is_not_claimed(tmp_path: Path) -> None:
    """Catches: IPv6 failures for a user who has no IPv6 rules."""
    assert Feature.IPV6 not in RulesFile(rules(tmp_path, "x")).features


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\n{% for %}", r"rules.v4:2: "),
        ("{{ proxy_udi }}", "uses 'proxy_udi', which the contract does not have"),
    ],
)
def test_bad_template_is_refused_before_the_run(tmp_path: Path, text: str, message: str) -> None:
    """Catches: a misspelled name that makes every check fail, one by one."""
    with pytest.raises(SettingsError, match=message):
        RulesFile(rules(tmp_path, text))


def test_missing_file_is_refused(tmp_path: Path) -> None:
    """Catches: a traceback for a misspelled path."""
    with pytest.raises(SettingsError, match=r"rules file .*/none.v4: No such file"):
        RulesFile(tmp_path / "none.v4")


def test_template_cannot_run_python(tmp_path: Path) -> None:
    """Catches: a rules file that runs code on the machine that judges it."""
    path = rules(tmp_path, "{{ pod_ip.__class__.__mro__[1].__subclasses__() }}")
    with pytest.raises(Refused, match="could not be rendered"):
        RulesFile(path).program(Pod())


@pytest.mark.parametrize(
    ("result", "kind"),
    [
        (Completed(2, "", "line 3 failed"), Refused),
        (Completed(None, "", ""), Hung),
    ],
)
def test_rules_that_do_not_load_are_a_refusal(
    tmp_path: Path, result: Completed, kind: type[Refused]
) -> None:
    """Catches: a pod that counts as programmed although iptables refused the rules."""
    with pytest.raises(kind, match="iptables-restore"):
        RulesFile(rules(tmp_path, "x")).program(Pod(result=result))


def test_digest_covers_both_files(tmp_path: Path) -> None:
    """Catches: two equal digests although the IPv6 rules differ."""
    path = rules(tmp_path, "four")
    alone = RulesFile(path).digest
    rules(tmp_path, "six", "rules.v6")
    both = RulesFile(path).digest
    rules(tmp_path, "other", "rules.v6")
    assert len({alone, both, RulesFile(path).digest}) == 3
