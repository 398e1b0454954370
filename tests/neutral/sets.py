"""Store ranges and ports in ipsets; the rules are the same for every pod."""

from __future__ import annotations

from collections.abc import Iterable

from tests.neutral import lists
from tests.neutral.lists import Lists
from tests.neutral.tables import Table, replace, run

_HALVES = {4: ("0.0.0.0/1", "128.0.0.0/1"), 6: ("::/1", "8000::/1")}
_PORTS = "bitmap:port range 0-65535"


def _sets(wanted: Lists) -> dict[str, tuple[str, list[str]]]:
    """Return (type, members) of every set, by name."""
    found: dict[str, tuple[str, list[str]]] = {
        "mesh-out": (_PORTS, [str(port) for port in wanted.outbound]),
        "mesh-in": (_PORTS, [str(p) for p in (*wanted.inbound, 15010, *range(15901, 15905))]),
    }
    for family in wanted.families:
        kind = f"hash:net family {'inet' if family == 4 else 'inet6'}"
        excluded, included = wanted.of(family)
        # The second set lists what to capture, so an empty list becomes "everything".
        everything = () if wanted.included else _HALVES[family]
        found[f"mesh-no-{family}"] = (kind, list(_without_zero(excluded, family)))
        found[f"mesh-yes-{family}"] = (kind, list(_without_zero((*included, *everything), family)))
    return found


def _without_zero(ranges: Iterable[str], family: int) -> list[str]:
    """Write a range of prefix length 0 as its two halves, because a set cannot hold it."""
    return [part for r in ranges for part in (_HALVES[family] if r.endswith("/0") else (r,))]


def _filled(name: str, kind: str, members: list[str]) -> list[str]:
    """Fill a new set and swap it with the active one."""
    return [
        f"create {name} {kind} -exist",
        f"create {name}-new {kind} -exist",
        f"flush {name}-new",
        *(f"add {name}-new {member} -exist" for member in members),
        f"swap {name} {name}-new",
        f"destroy {name}-new",
    ]


def _tables(wanted: Lists, family: int) -> dict[str, Table]:
    loopback = "127.0.0.0/8" if family == 4 else "::1/128"
    return {
        "nat": Table(
            {
                "SET_IN": [
                    *(f"-i {name} -j RETURN" for name in wanted.interfaces),
                    "-p tcp -m set --match-set mesh-in dst -j RETURN",
                    "-p tcp -j REDIRECT --to-ports 15003",
                ],
                "SET_OUT": [
                    f"-o lo -p tcp ! -d {loopback} -m owner --uid-owner 1500"
                    " -j REDIRECT --to-ports 15003",
                    "-o lo -j RETURN",
                    *(f"-o {name} -j RETURN" for name in wanted.interfaces),
                    "-m owner --uid-owner 1500 -j RETURN",
                    "-p tcp -m set --match-set mesh-out dst -j RETURN",
                    f"-m set --match-set mesh-no-{family} dst -j RETURN",
                    f"-p tcp -m set --match-set mesh-yes-{family} dst"
                    " -j REDIRECT --to-ports 15001",
                ],
            },
            ("-A PREROUTING -p tcp -j SET_IN", "-A OUTPUT -p tcp -j SET_OUT"),
        ),
        "filter": Table(
            {}, ("-A INPUT -p tcp -m conntrack --ctstate INVALID -j DROP",)
        ),
    }  # fmt: skip


def main() -> None:
    """Program this network namespace."""
    wanted = lists.read()
    lines = [line for name, (kind, of) in _sets(wanted).items() for line in _filled(name, kind, of)]
    run(["ipset", "restore"], "\n".join([*lines, ""]))
    programs = {4: "iptables", 6: "ip6tables"}
    replace({programs[family]: _tables(wanted, family) for family in wanted.families})


if __name__ == "__main__":
    main()
