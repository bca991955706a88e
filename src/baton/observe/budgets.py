"""PodDisruptionBudgets against the pods as watched: who is healthy, what is still allowed, since when nothing is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from baton.errors import ReadError
from baton.logic.eviction import selector_matches, wanted

PodKey = tuple[str, str]


class BudgetState:
    """One budget. `desired` is what the disruption controller wants healthy; None until it has said so.

    `members` are all pods it selects, `healthy` those that are ready and not on their way out.
    """

    __slots__ = ("always_allow", "desired", "exhausted_since", "healthy", "key", "members", "selector", "spec")

    def __init__(self, key: PodKey, selector: Any) -> None:
        self.key = key
        self.selector = selector
        self.always_allow = False
        self.desired: int | None = None
        self.spec: Mapping[str, Any] = {}
        self.members: set[PodKey] = set()
        self.healthy: set[PodKey] = set()
        self.exhausted_since: float | None = None

    @property
    def name(self) -> str:
        return f"{self.key[0]}/{self.key[1]}"

    @property
    def wanted_healthy(self) -> int:
        """As its status says; while there is none, as its spec asks of the pods that exist."""
        if self.desired is not None:
            return self.desired
        try:
            return wanted(self.spec, len(self.members), len(self.members)).desired
        except ReadError:
            return 0

    @property
    def allows(self) -> int:
        """Disruptions that it would allow now."""
        return max(0, len(self.healthy) - self.wanted_healthy) if self.members else 0

    def stamp(self, at: float) -> None:
        """Note when it ran out, or that it has not."""
        if self.members and self.allows == 0:
            if self.exhausted_since is None:
                self.exhausted_since = at
        else:
            self.exhausted_since = None


class Budgets:
    """All budgets by namespace; pods of one controller with equal labels are matched once."""

    def __init__(self) -> None:
        self.by_key: dict[PodKey, BudgetState] = {}
        self._by_namespace: dict[str, list[BudgetState]] = {}
        self._cache: dict[str, tuple[Mapping[str, str], tuple[BudgetState, ...]]] = {}

    def on_budget(self, type_: str, obj: Mapping[str, Any], at: float) -> bool:
        """Take a watch event in; True when the pods of its namespace must be matched anew."""
        meta = obj["metadata"]
        key = (meta.get("namespace", ""), meta["name"])
        known = self.by_key.get(key)
        if type_ == "DELETED":
            if known is None:
                return False
            del self.by_key[key]
            self._by_namespace[key[0]].remove(known)
            self._cache.clear()
            return True
        selector = obj.get("spec", {}).get("selector")
        rematch = known is None or known.selector != selector
        if known is None:
            known = self.by_key[key] = BudgetState(key, selector)
            self._by_namespace.setdefault(key[0], []).append(known)
        if rematch:
            known.selector = selector
            self._cache.clear()
        known.spec = obj.get("spec") or {}
        known.always_allow = known.spec.get("unhealthyPodEvictionPolicy") == "AlwaysAllow"
        status = obj.get("status") or {}
        if "desiredHealthy" in status:
            known.desired = int(status["desiredHealthy"])
        known.stamp(at)
        return rematch

    def matching(self, namespace: str, owner: str, labels: Mapping[str, str]) -> tuple[BudgetState, ...]:
        """The budgets that select a pod of `owner` (a controller's uid, "" for none)."""
        candidates = self._by_namespace.get(namespace)
        if not candidates:
            return ()
        cached = self._cache.get(owner) if owner else None
        if cached is not None and cached[0] == labels:
            return cached[1]
        found = tuple(b for b in candidates if selector_matches(b.selector, labels))
        if owner:
            self._cache[owner] = (labels, found)
        return found
