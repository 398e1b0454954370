"""Optional features of implementations; a check of an unclaimed feature is "unsupported"."""

from __future__ import annotations

from enum import StrEnum


class Feature(StrEnum):
    """An optional part of the seed, or of a stated extension of it."""

    IPV6 = "ipv6"
    OUTBOUND_IP_RANGE_EXCLUSION = "outbound-ip-range-exclusion"
    OUTBOUND_IP_RANGE_INCLUSION = "outbound-ip-range-inclusion"
    OUTBOUND_PORT_EXCLUSION = "outbound-port-exclusion"
    INBOUND_PORT_EXCLUSION = "inbound-port-exclusion"
    NETWORK_INTERFACE_EXCLUSION = "network-interface-exclusion"
    HAIRPIN = "hairpin"
    REMOVAL = "removal"


ALL_FEATURES = frozenset(Feature)
