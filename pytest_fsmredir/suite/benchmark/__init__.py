"""``--fsm-benchmark``: what an implementation costs its users. It judges nothing."""
