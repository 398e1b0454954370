"""Decide in the mangle table and store the decision as a connection mark for the nat table."""

from __future__ import annotations

from tests.neutral import lists
from tests.neutral.lists import Lists
from tests.neutral.tables import Table, replace

TO_INBOUND, TO_OUTBOUND = "0x1503", "0x1501"


def _connmark(words: str, mark: str) -> str:
    return f"{words} -j CONNMARK --set-xmark {mark}/0xffffffff"


def _leaving(wanted: Lists, family: int) -> list[str]:
    """Return the rules that mark an outbound connection or clear its mark."""
    excluded, included = wanted.of(family)
    targets = [f"-d {network}" for network in included] if wanted.included else [""]
    loopback = "127.0.0.0/8" if family == 4 else "::1/128"
    return [
        *(_connmark(target, TO_OUTBOUND).strip() for target in targets),
        *(_connmark(f"-d {network}", "0x0") for network in excluded),
        *(_connmark(f"-p tcp --dport {port}", "0x0") for port in wanted.outbound),
        *(_connmark(f"-o {name}", "0x0") for name in wanted.interfaces),
        _connmark("-m owner --uid-owner 1500", "0x0"),
        _connmark("-o lo", "0x0"),
        _connmark(f"-o lo ! -d {loopback} -m owner --uid-owner 1500", TO_INBOUND),
    ]


def _entering(wanted: Lists) -> list[str]:
    """Return the rules that mark an inbound connection or clear its mark."""
    exempt = (15010, 15901, 15902, 15903, 15904, *wanted.inbound)
    return [
        _connmark("", TO_INBOUND).strip(),
        *(_connmark(f"-p tcp --dport {port}", "0x0") for port in exempt),
        *(_connmark(f"-i {name}", "0x0") for name in wanted.interfaces),
    ]


def _tables(wanted: Lists, family: int) -> dict[str, Table]:
    new = "-p tcp -m conntrack --ctstate NEW"
    mangle = Table(
        {
            "CM_LEAVE": _leaving(wanted, family),
            "CM_ENTER": ["-i lo -j RETURN", *_entering(wanted)],
        },
        (
            "-A PREROUTING -p tcp -m conntrack --ctstate INVALID -j DROP",
            f"-A PREROUTING {new} -j CM_ENTER",
            f"-A OUTPUT {new} -j CM_LEAVE",
        ),
    )
    redirect = "-p tcp -m connmark --mark {} -j REDIRECT --to-ports {}"
    nat = Table(
        {},
        (
            f"-A PREROUTING {redirect.format(TO_INBOUND, 15003)}",
            f"-A OUTPUT {redirect.format(TO_INBOUND, 15003)}",
            f"-A OUTPUT {redirect.format(TO_OUTBOUND, 15001)}",
        ),
    )
    # Without marks the nat table captures nothing, so it can be loaded first.
    return {"nat": nat, "mangle": mangle}


def main() -> None:
    """Program this network namespace."""
    wanted = lists.read()
    programs = {4: "iptables", 6: "ip6tables"}
    replace({programs[family]: _tables(wanted, family) for family in wanted.families})


if __name__ == "__main__":
    main()
