"""Draining nodes through evictions: blocked ones wait for the event that can unblock them, nothing polls."""

from __future__ import annotations

from collections.abc import Callable

from baton.twin.clock import Handle
from baton.twin.cloud.core import Core, KubeSide

Key = tuple[str, str]
Named = Key | int  # a pod: (namespace, name), or the number of one in bulk


class Drain:
    """One node being emptied. Calls `done()` once no pod that a drain must move is left."""

    __slots__ = ("_done", "_drains", "_over", "_retry", "blocked", "forced", "leaving", "node")

    def __init__(self, drains: Drains, node: str, done: Callable[[], object]) -> None:
        self._drains = drains
        self.node = node
        self._done = done
        self.leaving: set[Named] = set()  # those in bulk are counted there
        self.blocked: dict[Named, str] = {}  # pod -> namespace/name of the budget that refused, "" when none did
        self._retry: Handle | None = None
        self.forced = False
        self._over = False

    def go(self) -> None:
        """Ask for the eviction of every pod there is now."""
        if self._over:
            return
        numbers: list[int] = []
        for key in self._drains.kube.drain_keys(self.node):
            if isinstance(key, int):
                numbers.append(key)
                continue
            if numbers:
                self._evict_bulk(numbers)
                numbers = []
            if key not in self.leaving:
                self._evict(key)
        if numbers:
            self._evict_bulk(numbers)
        self._settle()

    def force(self) -> None:
        """Delete what is left, past any budget."""
        self.forced = True
        self.go()

    def _evict(self, key: Key) -> None:
        core, kube = self._drains.core, self._drains.kube
        self.leaving.add(key)  # before asking: a pod without grace is gone before the answer
        answer = kube.evict(*key, delete=self.forced)
        self.blocked.pop(key, None)
        subject = f"{self._drains.cluster}/{key[0]}/{key[1]}"
        if answer.verdict == "evicted":
            core.event("pod.evicted", subject, node=self.node, forced=self.forced)
            return
        self.leaving.discard(key)
        if answer.verdict == "blocked":
            self._refused(key, key, str(answer.pdb or ""))

    def _refused(self, pod: Named, key: Key, budget: str) -> None:
        self.blocked[pod] = budget
        self._drains.wait(key[0], budget, self.node)
        subject = f"{self._drains.cluster}/{key[0]}/{key[1]}"
        self._drains.core.event("pod.blocked", subject, node=self.node, pdb=budget)

    def _evict_bulk(self, numbers: list[int]) -> None:
        """As _evict for each. What is evicted without ado is counted, not told as an event."""
        bulk = self._drains.kube.bulk
        done = 0
        while done < len(numbers):
            stopped, refused = bulk.evict(numbers, done, self.forced)
            if stopped > done:  # it stops after one that had been refused before
                self.blocked.pop(numbers[stopped - 1], None)
                bulk.forget_refusal(numbers[stopped - 1])
            bulk.tell()
            done = stopped
            if refused:
                number = numbers[stopped]
                self.blocked.pop(number, None)  # the last to be refused is the last to be asked for again
                bulk.note_refusal(number)
                self._refused(number, bulk.key_of(number), bulk.first_budget(number))
                done += 1

    def pod_gone(self, pod: Named | None) -> None:
        """A pod left the node; None for the last of those in bulk."""
        if pod is not None:
            self.leaving.discard(pod)
            self.blocked.pop(pod, None)
        self._settle()

    def _settle(self) -> None:
        if self.leaving or self.blocked or self._over or self._drains.kube.drain_waits(self.node):
            return
        if self._drains.kube.drain_keys(self.node):  # came meanwhile, tolerating the cordon
            self._again()
            return
        self._over = True
        self._drains.stop(self.node)
        self._done()

    def wake(self) -> None:
        """Something changed that may let a blocked eviction through: ask again shortly, as the service's retry does."""
        if self.blocked:
            self._again()

    def _again(self) -> None:
        if self._retry is None:
            core = self._drains.core
            wait = core.draw(core.settings.durations.eviction_retry, f"eviction retry {self.node}")
            self._retry = core.later(wait, self._retried)

    def _retried(self) -> None:
        self._retry = None
        if not self.blocked:
            self.go()
            return
        for pod in list(self.blocked):
            if isinstance(pod, int):
                self._evict_bulk([pod])
            else:
                self._evict(pod)
        self._settle()

    def cancel(self) -> None:
        self._over = True
        if self._retry is not None:
            self._retry.cancelled = True


class Drains:
    """All drains of one cluster, and the one subscription that wakes them."""

    def __init__(self, core: Core, cluster: str, kube: KubeSide) -> None:
        self.core = core
        self.cluster = cluster
        self.kube = kube
        self.active: dict[str, Drain] = {}
        self.waiting: dict[Key, dict[str, None]] = {}  # (namespace, budget) -> nodes with evictions it refused
        kube.on_pod_gone(self._gone)
        kube.on_disruption_change(self._raised)

    def start(self, node: str, done: Callable[[], object]) -> Drain:
        """Drain `node`; a drain of it that runs already is taken over."""
        self.stop(node)
        drain = Drain(self, node, done)
        self.active[node] = drain
        self.kube.drain_begins(node)
        drain.go()
        return drain

    def stop(self, node: str) -> None:
        drain = self.active.pop(node, None)
        if drain is not None:
            drain.cancel()
            self.kube.drain_ends(node)

    def wait(self, namespace: str, budget: str, node: str) -> None:
        """Evictions on the node wait for this budget ("" for any change in the namespace)."""
        self.waiting.setdefault((namespace, budget), {})[node] = None
        self.kube.wait_for_news(namespace, budget, True)

    def _take(self, namespace: str, budget: str) -> dict[str, None]:
        nodes = self.waiting.pop((namespace, budget), None)
        if nodes is None:
            return {}
        self.kube.wait_for_news(namespace, budget, False)
        return nodes

    def _gone(self, node: str, key: Named | None) -> None:
        drain = self.active.get(node)
        if drain is not None:
            drain.pod_gone(key)

    def _raised(self, kind: str, namespace: str, name: str) -> None:
        """A budget allows more than before, or a pod is gone: whoever was refused for it asks again.

        A refusal that named no budget (several cover the pod) waits for any change in its namespace."""
        nodes = self._take(namespace, "")
        if kind == "budget":
            nodes |= self._take(namespace, name)
        for node in nodes:
            drain = self.active.get(node)
            if drain is not None:
                drain.wake()
