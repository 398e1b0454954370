"""An implementation of the redirection in a separate package.

It programs IPv4 with plain ``iptables``, claims what it honours and refuses what it does not.
"""

from __future__ import annotations

from collections.abc import Iterator

from pytest_fsmredir import Feature, ListName, Refused, Target

CHAIN = "ACME_OUT"


class AcmeMesh:
    """Captures outbound TCP, except to the ports of the exclusion list."""

    name = "acme"
    version = "1.3.0"
    features = frozenset({Feature.OUTBOUND_PORT_EXCLUSION})

    def program(self, target: Target) -> None:
        """Program one pod.

        Raises:
            Refused: A list is not supported here, or iptables refused a rule.
        """
        lists = target.configuration.effective()
        excluded = lists.pop(ListName.OUTBOUND_PORT_EXCLUSION)
        for name, values in lists.items():
            if values:
                raise Refused(f"{name} is not supported")
        for rule in _rules(excluded):
            done = target.run(["iptables", "-t", "nat", *rule.split()])
            if done.status != 0:
                raise Refused(f"iptables {rule}: {done.stderr.strip()}")


def _rules(excluded: tuple[str, ...]) -> Iterator[str]:
    yield f"-N {CHAIN}"
    yield f"-A {CHAIN} -m owner --uid-owner 1500 -j RETURN"
    yield f"-A {CHAIN} -o lo -j RETURN"
    for port in excluded:
        yield f"-A {CHAIN} -p tcp --dport {port} -j RETURN"
    yield f"-A {CHAIN} -p tcp -j REDIRECT --to-ports 15001"
    yield f"-A OUTPUT -p tcp -j {CHAIN}"
