"""Translate iptables rules of other programs to nft."""

from __future__ import annotations

import pytest

from pytest_fsmredir.backends.netns.translation import UnknownWordError, translated

TEXT = """\
*filter
:INPUT DROP
:OWN - [0:0]
-A INPUT -p udp ! --dport 5411 -j ACCEPT
-A INPUT ! -p udp -m mark --mark 0x5 -j REJECT --reject-with tcp-reset
-A OWN -p tcp --syn -s 10.0.0.9 -j OWN
COMMIT
"""


def test_rules_keep_their_place_and_meaning() -> None:
    """Catches: a match that is lost or inverted, or a policy that is not set."""
    assert translated(TEXT, 4).splitlines() == [
        "add table ip others_filter",
        "add chain ip others_filter INPUT { type filter hook input priority 0; policy drop; }",
        "add chain ip others_filter OWN",
        "add chain ip others_filter INPUT { type filter hook input priority 0; }",
        "add rule ip others_filter INPUT meta l4proto udp th dport != 5411 accept",
        "add chain ip others_filter INPUT { type filter hook input priority 0; }",
        "add rule ip others_filter INPUT meta l4proto != udp meta mark 0x5 reject with tcp reset",
        "add chain ip others_filter OWN",
        "add rule ip others_filter OWN meta l4proto tcp tcp flags & (fin|syn|rst|ack) == syn"
        " ip saddr 10.0.0.9 jump OWN",
    ]


@pytest.mark.parametrize("rule", ["-m ttl --ttl 5 -j DROP", "-j LOG", "-j TEE --gateway ::1"])
def test_unknown_word_is_an_error(rule: str) -> None:
    """Catches: a rule that is added with half of its meaning."""
    with pytest.raises(UnknownWordError):
        translated(f"*mangle\n-A INPUT {rule}\nCOMMIT\n", 6)
