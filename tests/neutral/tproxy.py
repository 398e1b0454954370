"""Capture inbound traffic by TPROXY, which keeps the destination, and outbound by REDIRECT."""

from __future__ import annotations

from tests.neutral import lists
from tests.neutral.lists import Lists
from tests.neutral.tables import Table, replace, run

MARK, ROUTES = "1339", "133"


def _mangle(wanted: Lists) -> Table:
    exempt = (*wanted.inbound, 15010, 15901, 15902, 15903, 15904)
    return Table(
        {
            "TP_IN": [
                "-i lo -j RETURN",
                *(f"-i {name} -j RETURN" for name in wanted.interfaces),
                *(f"-p tcp -m tcp --dport {port} -j RETURN" for port in exempt),
                f"-p tcp -m socket --transparent -j MARK --set-mark {MARK}",
                # The socket of an earlier flow is not transparent: TPROXY would drop its packets.
                "-p tcp -m conntrack ! --ctstate NEW -j RETURN",
                f"-p tcp -j TPROXY --on-port 15003 --tproxy-mark {MARK}",
            ]
        },
        ("-A PREROUTING -p tcp -j TP_IN",),
    )


def _nat(wanted: Lists, family: int) -> Table:
    excluded, included = wanted.of(family)
    loopback = "127.0.0.0/8" if family == 4 else "::1/128"
    exempt = [
        "-m owner --uid-owner 1500",
        *(f"-o {name}" for name in wanted.interfaces),
        *(f"-d {network}" for network in excluded),
        *(f"-p tcp --dport {port}" for port in wanted.outbound),
    ]
    return Table(
        {
            "TP_LO": [
                f"! -d {loopback} -p tcp -m owner --uid-owner 1500 -j REDIRECT --to-ports 15003"
            ],
            "TP_OUT": [
                *(f"{words} -j RETURN" for words in exempt),
                *(
                    f"{words} -p tcp -j REDIRECT --to-ports 15001"
                    for words in ([f"-d {n}" for n in included] if wanted.included else [""])
                ),
            ],
        },
        ("-A OUTPUT -o lo -p tcp -g TP_LO", "-A OUTPUT ! -o lo -p tcp -j TP_OUT"),
    )


def _route(family: int) -> None:
    """Deliver marked packets locally, whatever their destination; no effect without marks."""
    ip = ["ip", f"-{family}"]
    run([*ip, "route", "replace", "local", "default", "dev", "lo", "table", ROUTES])
    if f"lookup {ROUTES}" not in run([*ip, "rule", "show"]):
        run([*ip, "rule", "add", "fwmark", MARK, "lookup", ROUTES])


def main() -> None:
    """Program this network namespace."""
    wanted = lists.read()
    programs = {4: "iptables", 6: "ip6tables"}
    for family in wanted.families:
        _route(family)
    replace(
        {
            programs[family]: {"mangle": _mangle(wanted), "nat": _nat(wanted, family)}
            for family in wanted.families
        }
    )


if __name__ == "__main__":
    main()
