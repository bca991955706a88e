"""StatefulSets whose pods are rows: a seat for every ordinal, with the volumes that one pod after the other mounts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from baton.logic.scheduling.infos import PodInfo
from baton.logic.scheduling.state import CLAIMS, VOLUMES
from baton.logic.scheduling.volumes import csi_identity
from baton.twin.bulk.begin import Beyond
from baton.twin.bulk.counts import Counts
from baton.twin.bulk.layout import (
    G_HEAD,
    G_ORDERED,
    G_SEATS,
    G_TAIL,
    P_CLASS,
    P_SEAT,
    SEAT_CLASS,
    SEAT_COLUMNS,
    SEAT_POD,
)
from baton.twin.bulk.pods import Seat
from baton.twin.bulk.sets import Sets
from baton.twin.controllers.base import Group, Key, Obj
from baton.twin.controllers.lean import PodShape
from baton.twin.controllers.statefulsets import STATEFULSETS


class StatefulSets(Sets):
    """What StatefulSetController and the scheduler know of the sets in bulk, as seats."""

    def __init__(self, kube: Any, counts: Counts) -> None:
        super().__init__(kube, counts)
        self._held: set[Key] = set()  # claims, by namespace and name, and volumes, by driver and handle
        self._objects: set[Key] = set()  # claims and ("", volume)

    def _take_statefulsets(self) -> None:
        """Every set is settled, with one pod for each ordinal, and nobody else mounts what they mount."""
        rows: list[tuple[int, ...]] = []
        attached: list[tuple[int, int, int]] = []
        for number in self.statefulsets.values():
            group, row = self.groups[number], self.a.groups[number]
            wanted, row[G_ORDERED] = self.kube.statefulsets.order_of(group.key)
            row[G_SEATS] = len(rows) + 1
            pods = {self.as_read(at).name: at for at in range(row[G_HEAD], row[G_TAIL] + 1)}
            for name, ordinal in wanted.items():
                pod = pods[name]
                info = self.as_read(pod).info
                assert info is not None
                self.a.pods[pod, P_SEAT] = len(rows)
                self._seat_of[group.namespace, name] = len(rows)
                self.seats.append(Seat(number, name, ordinal, info.claims))
                reach, drivers = self._mount(info, attached)
                rows.append((pod, int(self.a.pods[pod, P_CLASS]), reach, len(attached) - drivers, drivers))
        self._set(
            seats=np.array(rows, dtype=np.int64).reshape(-1, SEAT_COLUMNS),
            attached=np.array(attached, dtype=np.int64).reshape(-1, 3),
        )
        if self._objects:
            self.cluster.world.subscribe(self._on_volume, [CLAIMS, VOLUMES])

    def _mount(self, info: PodInfo, attached: list[tuple[int, int, int]]) -> tuple[int, int]:
        """(row of the nodes that a pod's volumes can be used on, drivers whose volumes were added to `attached`)."""
        bound = self.fast.bound_claims(info)
        if not bound:
            return -1, 0
        namespace, attachments, rows = info.cls.namespace, self.index.attachments, self._rows_of_nodes
        attachments.hand_over(info)
        per_driver: dict[str, int] = {}
        for driver, _ in dict.fromkeys(b.identity for b in bound if b.identity is not None):
            per_driver[driver] = per_driver.get(driver, 0) + 1
        for claim in bound:
            name = claim.claim["metadata"]["name"]
            self._held.add((namespace, name))
            self.state.claim_users.pop((namespace, name), None)
            self._objects |= {(namespace, name), ("", claim.volume["metadata"]["name"])}
            if claim.identity is not None:
                self._held.add(claim.identity)
        reach = self.fast.reach_row(bound)
        limits = [attachments.limit_row(driver) for driver in per_driver]
        for row in (reach, *limits):
            if row not in rows:
                rows[row] = None
                self.index.rows.sync(row)
        for limit, (driver, many) in zip(limits, per_driver.items(), strict=True):
            attached.append((attachments.count_row(driver), limit.row, many))
        return reach.row, len(per_driver)

    def _statefulset(self, group: Group) -> Obj:
        obj: Obj | None = self.cluster.world.get(STATEFULSETS, *group.key)
        if obj is None or obj["metadata"].get("deletionTimestamp"):
            raise Beyond(f"StatefulSet {'/'.join(group.key)} is gone")
        return obj

    def shape_for(self, seat: int) -> PodShape:
        """What the next pod of an ordinal looks like."""
        number, name, ordinal, claims = self.seats[seat]
        group = self.groups[number]
        shape: PodShape = self.kube.statefulsets.shape(self._statefulset(group), name, ordinal)
        same = shape.claims is not None and set(shape.claims) == set(claims)
        if not same or shape.cls.node_names is not None or shape.cls.fit.scalars:
            raise Beyond(f"pods of StatefulSet {'/'.join(group.key)} differ from those before")
        return shape

    def _read_statefulset(self, number: int) -> PodShape:
        """What the set's next pods look like; their names and volumes, and perhaps their classes, are the seats'."""
        first = int(self.a.groups[number, G_SEATS]) - 1
        seats = range(first, first + len(self.kube.statefulsets.order_of(self.groups[number].key)[0]))
        shape = self.shape_for(first)
        alike = bool(self.state.classes.volatile)
        for seat in seats:
            cls = self.class_id(shape.cls if alike else self.shape_for(seat).cls)
            self.a.seats[seat, SEAT_CLASS] = cls
            if cls not in self._classes_of[number]:
                self._belongs(cls, number)
        return shape

    def taken_seats(self, group: Group) -> int:
        """How many ordinals have a pod."""
        first = int(self.a.groups[self.by_uid[group.uid], G_SEATS]) - 1
        last = first + len(self.kube.statefulsets.order_of(group.key)[0])
        return int(np.count_nonzero(self.a.seats[first:last, SEAT_POD] >= 0))

    def mounts(self, namespace: str, claims: Sequence[str]) -> None:
        """A pod that is not in bulk mounts these claims: nobody else may mount those of the seats."""
        for name in claims:
            if (namespace, name) in self._held or csi_identity(self.state, namespace, name) in self._held:
                raise Beyond(f"two pods mount claim {namespace}/{name}")

    def _on_volume(self, type_: str, resource: str, obj: Obj, old: Obj | None) -> None:
        meta = obj["metadata"]
        if (meta.get("namespace") or "", meta["name"]) in self._objects:
            raise Beyond(f"claim or volume {meta['name']} changes")
