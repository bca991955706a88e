"""Volumes attached per node and CSI driver, kept up to date as pods and claims come and go."""

from __future__ import annotations

from collections.abc import Iterable

from baton.logic.scheduling.infos import Key, NodeInfo, PodInfo
from baton.logic.scheduling.matching import Json
from baton.logic.scheduling.rows import NodeRow, NodeRows
from baton.logic.scheduling.state import CLAIMS, CSI_NODES, STORAGE_CLASSES, VOLUMES, ClusterState
from baton.logic.scheduling.volumes import attach_limits, class_name, csi_identity

UNLIMITED = 2**31 - 1
Volume = tuple[str, str]


class Attachments:
    """How many volumes of each driver every node has, and how many it can have."""

    def __init__(self, state: ClusterState, rows: NodeRows) -> None:
        self.state = state
        self.rows = rows
        self.counts: dict[str, int] = {}
        """Driver -> the row of volumes attached per slot."""
        self.holders: dict[Volume, dict[int, int]] = {}
        """Volume -> slot -> pods there that use it."""
        self._limits: dict[str, NodeRow] = {}
        self._claims: dict[str, set[Key]] = {}

    def count_row(self, driver: str) -> int:
        """The row of volumes attached."""
        row = self.counts.get(driver)
        if row is None:
            row = self.counts[driver] = self.rows.table.new_row()
        return row

    def limit_row(self, driver: str) -> NodeRow:
        """The row of attach limits."""
        found = self._limits.get(driver)
        if found is None:
            read: dict[int, tuple[Json | None, int]] = {}  # by slot: a CSINode, and what it says

            def limit(node: NodeInfo) -> int:
                csi_node = self.state.get(CSI_NODES, "", node.name)
                known = read.get(node.slot)
                if known is None or known[0] is not csi_node:
                    most = attach_limits(self.state, node.name).get(driver, UNLIMITED)
                    known = read[node.slot] = csi_node, most
                return known[1]

            found = self._limits[driver] = self.rows.add(limit)
        return found

    def attach(self, info: PodInfo) -> None:
        """Count a pod's volumes on its node."""
        namespace = info.cls.namespace
        volumes: dict[Volume, None] = {}
        for name in info.claims:
            identity = csi_identity(self.state, namespace, name)
            if identity is not None:
                volumes[identity] = None
            claim = self.state.get(CLAIMS, namespace, name)
            bound = ((claim or {}).get("spec") or {}).get("volumeName")
            if bound:
                self._claims.setdefault(bound, set()).add((namespace, name))
        info.volumes = tuple(volumes)
        for volume in info.volumes:
            slots = self.holders.setdefault(volume, {})
            slots[info.slot] = slots.get(info.slot, 0) + 1
            if slots[info.slot] == 1:
                self.rows.table.data[self.count_row(volume[0]), info.slot] += 1

    def detach(self, info: PodInfo) -> None:
        """Take back what `attach` counted."""
        for volume in info.volumes:
            slots = self.holders[volume]
            slots[info.slot] -= 1
            if not slots[info.slot]:
                del slots[info.slot]
                self.rows.table.data[self.counts[volume[0]], info.slot] -= 1
                if not slots:
                    del self.holders[volume]
        info.volumes = ()

    def alone(self, volumes: Iterable[Volume]) -> bool:
        """Whether one pod on a node, and no other, uses each of these."""
        return all(sum(self.holders[volume].values()) == 1 for volume in volumes)

    def hand_over(self, info: PodInfo) -> None:
        """Somebody else keeps a pod that uses its volumes alone; they stay counted."""
        for volume in info.volumes:
            del self.holders[volume]

    def changed(self, resource: str, namespace: str, name: str) -> None:
        """A claim, a volume or a storage class changed: look again at the pods that use it."""
        claims: Iterable[Key] = ((namespace, name),)
        if resource == VOLUMES:
            claims = self._claims.get(name, ())
        elif resource == STORAGE_CLASSES:
            claims = [key for key in self.state.claim_users if self._of_class(key, name)]
        for claim in claims:
            users = self.state.claim_users.get(claim, ())
            self.refresh({key: self.state.pods[key] for key in users})

    def _of_class(self, key: Key, name: str) -> bool:
        claim = self.state.get(CLAIMS, *key)
        return claim is not None and class_name(claim) == name

    def refresh(self, pods: dict[Key, PodInfo]) -> None:
        """Count these pods' volumes anew."""
        for info in pods.values():
            if info.claims:
                self.detach(info)
                self.attach(info)
