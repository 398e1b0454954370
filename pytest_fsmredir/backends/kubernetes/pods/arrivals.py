"""Wait for pods in another thread, so that checks begin with those that are up."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from threading import Event, Thread

from pytest_fsmredir.backends.kubernetes.pods.orders import PooledPod
from pytest_fsmredir.backends.kubernetes.pods.watcher import Watcher


class Arrivals:
    """Pods that are awaited while checks run.

    Args:
        watcher: Waits for pods.
    """

    def __init__(self, watcher: Watcher) -> None:
        self._watcher, self._over = watcher, Event()
        self._threads: list[Thread] = []

    def expect(self, sites: Sequence[PooledPod]) -> None:
        """Begin to wait for pods."""
        for site in sites:
            site.arrival = Future()
        thread = Thread(target=self._wait, args=(sites,), name="fsmredir-arrivals", daemon=True)
        self._threads.append(thread)
        thread.start()

    def wait(self, site: PooledPod) -> None:
        """Wait until a pod is up, or refused by the implementation, if it is expected.

        Raises:
            BackendError: It is not up, because it or a pod that was expected together with it
                cannot come up.
        """
        if site.arrival is not None:
            site.arrival.result()

    def close(self) -> None:
        """End the wait for all pods."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _wait(self, sites: Sequence[PooledPod]) -> None:
        try:
            self._watcher.wait(sites, self._over)
        except Exception as error:  # whoever needs one of these pods gets it
            for site in sites:
                if site.arrival is not None and not site.arrival.done():
                    site.arrival.set_exception(error)
