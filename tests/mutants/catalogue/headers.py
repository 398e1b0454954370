"""Rules that depend on header fields of a connection's first packet."""

from __future__ import annotations

from tests.mutants.changes import Change, first, for_family, in_turn, narrow
from tests.mutants.correct import IN, OUT, Tag
from tests.mutants.mutant import Mutant
from tests.mutants.rules import Rule

_ECN, _NO_ECN = "-p tcp -m ecn --ecn-tcp-ece", "-m ecn ! --ecn-tcp-ece"
_SOURCE = "B60: a rule that takes the SYN of one host for that of all"


def _by_family(make: dict[int, Change]) -> Change:
    return in_turn(*(for_family(family, change) for family, change in make.items()))


def _spared(name: str, chain: str, v4: str, v6: str, what: str) -> Mutant:
    """Exempt the packets that some words match."""
    way = "inbound" if chain == IN else "outbound"
    change = {
        family: first(Rule("", chain, f"-p tcp {words}"))
        for family, words in ((4, v4), (6, v6))
        if words
    }
    return Mutant(
        name=f"header-{way}-exempt-{name}",
        what=f"{way} connections whose SYN has {what} are exempt",
        source=_SOURCE,
        rules=_by_family(change),
    )


def _narrowed(name: str, tag: str, v4: str, v6: str, what: str) -> Mutant:
    """Add some words to the matches of a tag's rules."""
    change = {family: narrow(tag, words) for family, words in ((4, v4), (6, v6)) if words}
    return Mutant(name=f"header-{name}", what=what, source=_SOURCE, rules=_by_family(change))


def _everywhere(name: str, v4: str, v6: str, what: str) -> tuple[Mutant, Mutant]:
    return _spared(name, OUT, v4, v6, what), _spared(name, IN, v4, v6, what)


def _dscp(code: int) -> tuple[Mutant, Mutant]:
    words = f"-m dscp --dscp {code}"
    return _everywhere(f"dscp-{code}", words, words, f"the DSCP {code}")


MUTANTS = (
    _narrowed("ecn-outbound", Tag.HOOK_OUT, _NO_ECN, _NO_ECN, "a SYN with ECN leaves uncaptured"),
    _narrowed("ecn-inbound", Tag.HOOK_IN, _NO_ECN, _NO_ECN, "a SYN with ECN enters uncaptured"),
    _narrowed(
        "ecn-sidecar",
        Tag.SIDECAR,
        f"-p tcp {_NO_ECN}",
        f"-p tcp {_NO_ECN}",
        "the sidecar's SYN with ECN loops",
    ),
    Mutant(
        name="header-ecn-dropped",
        what="a SYN with ECN is dropped",
        source="B60: routers that fear ECN",
        rules=first(Rule("", "OUTPUT", _ECN, "DROP", table="filter")),
    ),
    *_everywhere("cwr", "-m ecn --ecn-tcp-cwr", "-m ecn --ecn-tcp-cwr", "CWR"),
    *_everywhere("ect", "-m ecn --ecn-ip-ect 1", "-m ecn --ecn-ip-ect 1", "ECT(1)"),
    _narrowed(
        "ttl-64-outbound",
        Tag.HOOK_OUT,
        "-m ttl --ttl-eq 64",
        "-m hl --hl-eq 64",
        "only a SYN with 64 hops left is captured outbound",
    ),
    _narrowed(
        "ttl-64-inbound",
        Tag.HOOK_IN,
        "-m ttl --ttl-eq 64",
        "-m hl --hl-eq 64",
        "only a SYN with 64 hops left is captured inbound",
    ),
    _narrowed(
        "ttl-64-sidecar",
        Tag.SIDECAR,
        "-m ttl --ttl-eq 64",
        "-m hl --hl-eq 64",
        "only a SYN of the sidecar with 64 hops left is exempt",
    ),
    *_everywhere("ttl-128", "-m ttl --ttl-eq 128", "-m hl --hl-eq 128", "128 hops left"),
    *_everywhere("ttl-high", "-m ttl --ttl-gt 200", "-m hl --hl-gt 200", "over 200 hops left"),
    *_everywhere("ttl-low", "-m ttl --ttl-lt 10", "-m hl --hl-lt 10", "under 10 hops left"),
    *_everywhere("fragmentable", '-m u32 --u32 "4&0x4000=0"', "", "no DF bit"),
    *_everywhere("numbered", '-m u32 --u32 "4>>16=0x1234"', "", "an identification"),
    *_everywhere("labelled", "", '-m u32 --u32 "0&0xFFFFF=1:0xFFFFF"', "a flow label"),
    *(mutant for code in (1, 10, 46, 63) for mutant in _dscp(code)),
    _narrowed(
        "dscp-sidecar",
        Tag.SIDECAR,
        "-m dscp --dscp 0",
        "-m dscp --dscp 0",
        "the sidecar is exempt only without a DSCP",
    ),
    *_everywhere("long", "-m length --length 90:", "-m length --length 110:", "data"),
    *_everywhere("short", "-m length --length 0:50", "-m length --length 0:70", "few options"),
    *_everywhere("timestamps", "-m tcp ! --tcp-option 8", "-m tcp ! --tcp-option 8", "no time"),
    *_everywhere("scale", "-m tcp ! --tcp-option 3", "-m tcp ! --tcp-option 3", "no scale"),
    *_everywhere("fast-open", "-m tcp --tcp-option 34", "-m tcp --tcp-option 34", "fast open"),
    *_everywhere("multipath", "-m tcp --tcp-option 30", "-m tcp --tcp-option 30", "multipath"),
    *_everywhere("jumbo", "-m tcpmss --mss 8000:9000", "-m tcpmss --mss 8000:9000", "jumbo size"),
    *_everywhere("small-size", "-m tcpmss --mss 0:536", "-m tcpmss --mss 0:536", "a small size"),
    *_everywhere(
        "small-window",
        '-m u32 --u32 "0>>22&0x3C@12&0xFFFF=0:4096"',
        '-m u32 --u32 "52&0xFFFF=0:4096"',
        "a small window",
    ),
    *_everywhere(
        "large-window",
        '-m u32 --u32 "0>>22&0x3C@12&0xFFFF=65535"',
        '-m u32 --u32 "52&0xFFFF=65535"',
        "the largest window",
    ),
    *_everywhere(
        "zero-number",
        '-m u32 --u32 "0>>22&0x3C@4=0"',
        '-m u32 --u32 "44=0"',
        "the sequence number 0",
    ),
    *_everywhere(
        "ip-options",
        '-m u32 --u32 "0>>24&0x0F=6:15"',
        '-m u32 --u32 "4>>8&0xFF=60"',
        "options in its IP header",
    ),
    *_everywhere(
        "pushed", "--tcp-flags PSH PSH", "--tcp-flags PSH PSH", "the flag PSH, which is unusual"
    ),
    *_everywhere(
        "urgent", "--tcp-flags URG URG", "--tcp-flags URG URG", "the flag URG, which is unusual"
    ),
    *_everywhere(
        "reserved",
        '-m u32 --u32 "0>>22&0x3C@12>>16&0x0F00=1:0xFFFF"',
        '-m u32 --u32 "52>>16&0x0F00=1:0xFFFF"',
        "a reserved bit",
    ),
)
