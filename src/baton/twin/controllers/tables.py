"""Where records of pods are kept: by key, by node and by namespace, where one may stand for several."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING

from baton.twin.controllers.base import Key, Pod, PodCache
from baton.twin.controllers.record import LeanPod, Several

if TYPE_CHECKING:
    from baton.twin.world import World


class Tables(PodCache, ABC):
    """The tables of LeanPods. Whoever asks for a whole table finds each pod as itself."""

    def __init__(self, world: World) -> None:
        self._several: dict[Several, None] = {}
        super().__init__(world)

    def _put_on_nodes(self, keys: Iterable[Key], pods: Iterable[LeanPod], nodes: Iterable[str]) -> None:
        by_node = self._by_node
        for key, pod, node in zip(keys, pods, nodes, strict=True):
            there = by_node.get(node)
            if there is None:
                there = by_node[node] = {}
            there[key] = pod

    def _put_on_node(self, pod: LeanPod) -> None:
        there = self._by_node.get(pod.node)
        if there is None:
            there = self._by_node[pod.node] = {}
        there[pod.key] = pod

    # --- pods that one stands for

    @abstractmethod
    def part(self, one: Several) -> None:
        """Each gets a record of its own, in its place."""

    def part_all(self) -> None:
        """The same for all."""
        for one in self.standing():
            self.part(one)

    def forget_several(self, one: Several) -> None:
        """It stands for nobody any more."""
        del self._several[one]
        one.info = None  # which refers back
        if one.owner is not None:
            one.owner.several.remove(one)
        for budget in one.budgets:
            budget.several.remove(one)

    def standing(self) -> list[Several]:
        """Those that stand for others."""
        return list(self._several)

    # --- reading

    def has(self, key: Key) -> bool:
        return key in self._by_key

    def alike(self) -> Iterable[Pod]:
        return self._by_key.values()

    def anybody_on(self, node: str) -> bool:
        """Whether pods that are not in bulk are on the node."""
        return bool(self._by_node.get(node))

    @property
    def by_key(self) -> dict[Key, Pod]:
        if self._several:
            self.part_all()
        return self._by_key

    @by_key.setter
    def by_key(self, found: dict[Key, Pod]) -> None:
        self._by_key = found

    @property
    def by_node(self) -> dict[str, dict[Key, Pod]]:
        if self._several:
            self.part_all()
        return self._by_node

    @by_node.setter
    def by_node(self, found: dict[str, dict[Key, Pod]]) -> None:
        self._by_node = found

    @property
    def by_namespace(self) -> dict[str, dict[str, Pod]]:
        if self._several:
            self.part_all()
        return self._by_namespace

    @by_namespace.setter
    def by_namespace(self, found: dict[str, dict[str, Pod]]) -> None:
        self._by_namespace = found

    def own(self, key: Key) -> Pod | None:
        """The pod's record, of one that is not in bulk."""
        pod = self._by_key.get(key)
        if isinstance(pod, Several):
            pod.part()
            pod = self._by_key[key]
        return pod
