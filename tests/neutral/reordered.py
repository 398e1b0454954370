"""Use other chain names and another order of rules, and decide in the hooks themselves.

Outbound rules first match user and destination, in chains that return if the packet is captured.
Inbound rules capture everything that no exception matches.
"""

from __future__ import annotations

from tests.neutral import lists
from tests.neutral.lists import Lists
from tests.neutral.tables import Table, replace

ANSWERED = (15904, 15903, 15902, 15901, 15010)


def _from_application(wanted: Lists, family: int) -> list[str]:
    excluded, included = wanted.of(family)
    goal = "-p tcp -j REDIRECT --to-ports 15001"
    return [
        *(f"-p tcp -m tcp --dport {port} -j RETURN" for port in reversed(wanted.outbound)),
        *(f"-o {name} -j RETURN" for name in wanted.interfaces),
        *(f"-d {network} -j RETURN" for network in reversed(excluded)),
        *(f"-d {network} {goal}" for network in included),
        *([] if wanted.included else [goal]),
    ]


def _towards_pod(wanted: Lists) -> list[str]:
    return [
        *(f"-i {name} -j RETURN" for name in wanted.interfaces),
        *(f"-p tcp --dport {port} -j RETURN" for port in (*wanted.inbound, *ANSWERED)),
        "-p tcp -j REDIRECT --to-ports 15003",
    ]


def _tables(wanted: Lists, family: int) -> dict[str, Table]:
    loopback = "127.0.0.0/8" if family == 4 else "::1/128"
    nat = Table(
        {
            "w-app-out": _from_application(wanted, family),
            "w-pod-in": _towards_pod(wanted),
            "w-self": [
                f"-d {loopback} -j RETURN",
                "-m owner --uid-owner 1500 -p tcp -j REDIRECT --to-ports 15003",
            ],
        },
        (
            "-A PREROUTING ! -i lo -p tcp -j w-pod-in",
            "-A OUTPUT -o lo -p tcp -g w-self",
            "-A OUTPUT ! -o lo -p tcp -m owner ! --uid-owner 1500 -j w-app-out",
        ),
    )
    stray = Table({"w-stray": ["-m conntrack --ctstate INVALID -j DROP"]}, (
        "-A INPUT -p tcp -j w-stray",
    ))  # fmt: skip
    return {"nat": nat, "filter": stray}


def main() -> None:
    """Program this network namespace."""
    wanted = lists.read()
    programs = {4: "iptables", 6: "ip6tables"}
    replace({programs[family]: _tables(wanted, family) for family in wanted.families})


if __name__ == "__main__":
    main()
