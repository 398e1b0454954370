"""Trace packets through the rules of a namespace that a run made."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

from pytest_fsmredir.backends.netns.namespace import Namespace
from pytest_fsmredir.errors import BackendError
from pytest_fsmredir.traffic.tracing import LOGGER, Tracer


@contextmanager
def traced(namespace: Namespace, family: int, *, legacy: bool) -> Iterator[Tracer]:
    """Trace the packets that open flows in a namespace, for the block.

    Args:
        namespace: The namespace.
        family: IP version of rules of legacy iptables.
        legacy: Whether there are such rules.

    Raises:
        BackendError: The kernel cannot trace packets here.
    """
    number = socket.AF_INET if family == 4 else socket.AF_INET6
    logger = {f"netfilter/nf_log/{number:d}": LOGGER} if legacy else {}
    with ExitStack() as undo:
        try:
            undo.callback(namespace.sysctl, namespace.changed_sysctl(logger))
            tracer = undo.enter_context(closing(namespace.run(Tracer)))
            if legacy:
                tracer.read_log()
        except OSError as why:
            raise BackendError(f"the kernel cannot trace packets here: {why}") from None
        yield tracer
