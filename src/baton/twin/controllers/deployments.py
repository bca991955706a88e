"""The Deployment controller: RollingUpdate and Recreate, revisions, proportional scaling, status and conditions.

Steps follow pkg/controller/deployment (rolling.go, recreate.go, sync.go); counts of a ReplicaSet are read from the
cache of pods rather than from its status, so a roll-out does not depend on when statuses are written.
"""

from __future__ import annotations

import operator
from typing import Any

from baton.logic.eviction import controller_of
from baton.twin.controllers.base import Controller, Group, Key, Obj, Pod
from baton.twin.controllers.pods import PodMaker
from baton.twin.controllers.replicasets import REPLICASETS
from baton.twin.controllers.templates import HASH_LABEL, conditions_with, owner_reference, same_template, template_hash
from baton.twin.timefmt import rfc3339

DEPLOYMENTS = "deployments.apps"
REVISION = "deployment.kubernetes.io/revision"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAXIMUM = "deployment.kubernetes.io/max-replicas"
_SOURCE = "deployment-controller"


class DeploymentController(Controller):
    """Keys are (namespace, name)."""

    def __init__(self, cluster: Any, maker: PodMaker) -> None:
        super().__init__(cluster)
        self.maker = maker
        self._adopted: dict[str, tuple[Obj, str]] = {}  # deployment uid -> (template, ReplicaSet uid) found at start
        self._emptying: dict[str, Key] = {}  # ReplicaSet uid -> Deployment (Recreate) that waits for its last pod
        self._progressed: dict[str, tuple[tuple[int, int, int], float]] = {}
        self._complete_with: dict[Key, tuple[list[Any], list[int]]] = {}  # what a sync saw that left nothing to do

    def start(self) -> None:
        for obj in list(self.world.items(DEPLOYMENTS)):
            self._adopt(obj)
            self.enqueue((obj["metadata"]["namespace"], obj["metadata"]["name"]))
        self.world.subscribe(self._on_deployment, resources=[DEPLOYMENTS])
        self.world.subscribe(self._on_set, resources=[REPLICASETS])

    def _adopt(self, obj: Obj) -> None:
        """A cluster read from outside may hold templates that were cut down: trust its revision, start no roll-out."""
        meta, status = obj["metadata"], obj.get("status") or {}
        revision = (meta.get("annotations") or {}).get(REVISION)
        if not revision or status.get("observedGeneration", 0) < meta.get("generation", 0):
            return
        for rs in self.world.owned_by(meta["uid"]):
            if (rs["metadata"].get("annotations") or {}).get(REVISION) == revision:
                self._adopted[meta["uid"]] = (obj["spec"].get("template") or {}, rs["metadata"]["uid"])

    def _on_deployment(self, type_: str, resource: str, obj: Obj, old: Obj | None) -> None:
        if type_ == "DELETED" or (type_ == "MODIFIED" and old is not None and obj.get("spec") is old.get("spec")):
            return
        self.enqueue((obj["metadata"]["namespace"], obj["metadata"]["name"]))

    def _on_set(self, type_: str, resource: str, obj: Obj, old: Obj | None) -> None:
        owner = controller_of(obj)
        if owner is not None and owner["kind"] == "Deployment":
            self.enqueue((obj["metadata"]["namespace"], owner["name"]))

    def on_pod(self, pod: Pod, bits: int) -> None:
        if self._emptying and pod.owner is not None and pod.owner.uid in self._emptying:
            self.enqueue(self._emptying[pod.owner.uid])

    # --- one pass

    def sync(self, key: Key) -> None:
        obj = self.world.get(DEPLOYMENTS, *key)
        if obj is None or obj["metadata"].get("deletionTimestamp"):
            return
        sets = [r for r in self.world.owned_by(obj["metadata"]["uid"]) if r["kind"] == "ReplicaSet"]
        if self._nothing_new(key, obj, sets):
            return
        sets.sort(key=lambda r: (_revision(r), r["metadata"]["creationTimestamp"], r["metadata"]["name"]))
        new = self._current(obj, sets)
        old = [r for r in sets if new is None or r["metadata"]["uid"] != new["metadata"]["uid"]]
        if obj["spec"].get("paused") or self._scaled(obj, sets):
            self._scale(obj, new, old)
        elif (obj["spec"].get("strategy") or {}).get("type") == "Recreate":
            new = self._recreate(obj, new, old)
        else:
            new = self._roll(obj, new, old)
        self._status(key, new)

    def _nothing_new(self, key: Key, obj: Obj, sets: list[Obj]) -> bool:
        """Whether a sync before saw the same, and nothing left to do."""
        before = self._complete_with.get(key)
        if before is None:
            return False
        parts, figures = self._seen(obj, sets)
        same = len(parts) == len(before[0]) and figures == before[1]
        return same and all(map(operator.is_, parts, before[0]))

    def _seen(self, obj: Obj, sets: list[Obj]) -> tuple[list[Any], list[int]]:
        """All that a sync looks at, but for what only time changes: parts of objects, and counts of pods."""
        parts: list[Any] = [obj["spec"], obj["metadata"].get("annotations"), obj.get("status")]
        figures: list[int] = []
        for rs in sets:
            group = self._group(rs)
            parts += (rs["spec"], rs["metadata"].get("annotations"))
            figures += (group.active, group.ready)
        return parts, figures

    def _current(self, obj: Obj, sets: list[Obj]) -> Obj | None:
        template = obj["spec"].get("template") or {}
        adopted = self._adopted.get(obj["metadata"]["uid"])
        if adopted is not None and (adopted[0] is template or adopted[0] == template):
            return next((r for r in sets if r["metadata"]["uid"] == adopted[1]), None)
        for rs in sets:
            if same_template(rs["spec"].get("template") or {}, template):
                self._adopted[obj["metadata"]["uid"]] = (template, rs["metadata"]["uid"])
                return rs
        return None

    def _replicas(self, obj: Obj) -> int:
        replicas = obj["spec"].get("replicas")
        return 1 if replicas is None else int(replicas)

    def _group(self, rs: Obj) -> Group:
        meta = rs["metadata"]
        return self.cluster.pods.group(meta["uid"], "ReplicaSet", meta["namespace"], meta["name"])

    def _limits(self, obj: Obj) -> tuple[int, int]:
        """(maxSurge, maxUnavailable) as numbers; both zero becomes one unavailable."""
        if (obj["spec"].get("strategy") or {}).get("type") == "Recreate":
            return 0, 0
        rolling = (obj["spec"].get("strategy") or {}).get("rollingUpdate") or {}
        replicas = self._replicas(obj)
        surge = resolve(rolling.get("maxSurge", "25%"), replicas, up=True)
        unavailable = resolve(rolling.get("maxUnavailable", "25%"), replicas, up=False)
        if surge == 0 and unavailable == 0:
            unavailable = 1
        return surge, min(unavailable, replicas)

    def _available(self, rs: Obj, obj: Obj) -> int:
        key = (obj["metadata"]["namespace"], obj["metadata"]["name"])
        return self.maker.available(self._group(rs), obj["spec"].get("minReadySeconds") or 0, lambda: self.enqueue(key))

    def _roll(self, obj: Obj, new: Obj | None, old: list[Obj]) -> Obj:
        new = self._ensure_new(obj, new, old)
        replicas, (surge, unavailable) = self._replicas(obj), self._limits(obj)
        size = self._replicas(new)
        if size > replicas:
            return self._resize(obj, new, replicas)
        if size < replicas:
            total = size + sum(self._replicas(r) for r in old)
            room = min(replicas + surge - total, replicas - size)
            if room > 0:
                return self._resize(obj, new, size + room)
        old_total = sum(self._replicas(r) for r in old)
        if old_total:
            self._shrink_old(obj, new, old, replicas - unavailable)
        elif self._complete(obj, new):
            self._clean_up(obj, old)
        return new

    def _shrink_old(self, obj: Obj, new: Obj, old: list[Obj], least: int) -> None:
        """Unhealthy old replicas first, then healthy ones as availability allows."""
        new_unavailable = self._replicas(new) - self._available(new, obj)
        total = self._replicas(new) + sum(self._replicas(r) for r in old)
        budget = total - least - new_unavailable
        if budget <= 0:
            return
        sizes = {r["metadata"]["uid"]: self._replicas(r) for r in old}
        healthy = {r["metadata"]["uid"]: self._available(r, obj) for r in old}
        cleaned = 0
        for rs in old:
            uid = rs["metadata"]["uid"]
            cut = min(budget - cleaned, max(0, sizes[uid] - healthy[uid]))
            if cut > 0:
                sizes[uid] -= cut
                cleaned += cut
        spare = self._available(new, obj) + sum(healthy.values()) - least
        for rs in old:
            uid = rs["metadata"]["uid"]
            cut = min(sizes[uid], spare)
            if cut > 0:
                sizes[uid] -= cut
                spare -= cut
        for rs in old:
            if sizes[rs["metadata"]["uid"]] != self._replicas(rs):
                self._resize(obj, rs, sizes[rs["metadata"]["uid"]])

    def _recreate(self, obj: Obj, new: Obj | None, old: list[Obj]) -> Obj | None:
        for rs in old:
            if self._replicas(rs):
                self._resize(obj, rs, 0)
        if any(not p.finished for rs in old for p in self._group(rs).pods.values()):
            for rs in old:
                self._emptying[rs["metadata"]["uid"]] = (obj["metadata"]["namespace"], obj["metadata"]["name"])
            return new
        for rs in old:
            self._emptying.pop(rs["metadata"]["uid"], None)
        new = self._ensure_new(obj, new, old)
        if self._replicas(new) != self._replicas(obj):
            new = self._resize(obj, new, self._replicas(obj))
        if self._complete(obj, new):
            self._clean_up(obj, old)
        return new

    # --- scaling by hand

    def _scaled(self, obj: Obj, sets: list[Obj]) -> bool:
        """spec.replicas changed since the active ReplicaSets were last sized."""
        replicas = str(self._replicas(obj))
        for rs in sets:
            desired = (rs["metadata"].get("annotations") or {}).get(DESIRED)
            if self._replicas(rs) > 0 and desired is not None and desired != replicas:
                return True
        return False

    def _scale(self, obj: Obj, new: Obj | None, old: list[Obj]) -> None:
        active = [r for r in [*old, *([new] if new else [])] if self._replicas(r) > 0]
        replicas = self._replicas(obj)
        if len(active) <= 1:
            only = active[0] if active else new
            if only is not None:
                self._resize(obj, only, replicas)
            return
        if new is not None and self._saturated(obj, new):
            for rs in old:
                if self._replicas(rs):
                    self._resize(obj, rs, 0)
            return
        surge, _ = self._limits(obj)
        total = sum(self._replicas(r) for r in active)
        allowed = replicas + surge if replicas > 0 else 0
        left = allowed - total
        active.sort(key=lambda r: -self._replicas(r))
        sizes = {}
        for rs in active:
            share = _proportion(rs, self._replicas(rs), left, allowed, replicas)
            sizes[rs["metadata"]["uid"]] = self._replicas(rs) + share
            left -= share
        for index, rs in enumerate(active):
            uid = rs["metadata"]["uid"]
            self._resize(obj, rs, max(0, sizes[uid] + (left if index == 0 else 0)))

    def _saturated(self, obj: Obj, new: Obj) -> bool:
        return self._replicas(new) == self._replicas(obj) and self._available(new, obj) == self._replicas(obj)

    # --- writing

    def _ensure_new(self, obj: Obj, new: Obj | None, old: list[Obj]) -> Obj:
        revision = max((_revision(r) for r in old), default=0) + 1
        if new is not None:
            if _revision(new) < revision:
                notes = {**(new["metadata"].get("annotations") or {}), REVISION: str(revision)}
                new = self.world.update(REPLICASETS, {**new, "metadata": {**new["metadata"], "annotations": notes}})
            self._note_revision(obj, str(_revision(new)))
            return new
        created = self._create_set(obj, old, revision)
        self._adopted[obj["metadata"]["uid"]] = (obj["spec"]["template"], created["metadata"]["uid"])
        self._note_revision(obj, str(revision))
        return created

    def _create_set(self, obj: Obj, old: list[Obj], revision: int) -> Obj:
        meta, spec = obj["metadata"], obj["spec"]
        template = spec["template"]
        suffix = template_hash(template)
        labels = {**(template.get("metadata", {}).get("labels") or {}), HASH_LABEL: suffix}
        selector = dict(spec.get("selector") or {})
        selector["matchLabels"] = {**(selector.get("matchLabels") or {}), HASH_LABEL: suffix}
        surge, _ = self._limits(obj)
        replicas = self._replicas(obj)
        size = max(0, min(replicas, replicas + surge - sum(self._replicas(r) for r in old)))
        rs: Obj = {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": f"{meta['name']}-{suffix}",
                "namespace": meta["namespace"],
                "labels": labels,
                "annotations": {
                    DESIRED: str(replicas),
                    MAXIMUM: str(replicas + surge),
                    REVISION: str(revision),
                },
                "ownerReferences": [owner_reference(obj, "apps/v1", "Deployment")],
            },
            "spec": {
                "replicas": size,
                "selector": selector,
                "template": {**template, "metadata": {**(template.get("metadata") or {}), "labels": labels}},
            },
            "status": {"replicas": 0},
        }
        if spec.get("minReadySeconds"):
            rs["spec"]["minReadySeconds"] = spec["minReadySeconds"]
        made: Obj = self.world.create(REPLICASETS, rs)
        self._group(made).rolling = True
        if size:
            self._say(obj, f"Scaled up replica set {rs['metadata']['name']} from 0 to {size}")
        return made

    def _note_revision(self, obj: Obj, revision: str) -> None:
        current = self.world.get(DEPLOYMENTS, obj["metadata"]["namespace"], obj["metadata"]["name"])
        if current is None or (current["metadata"].get("annotations") or {}).get(REVISION) == revision:
            return
        notes = {**(current["metadata"].get("annotations") or {}), REVISION: revision}
        self.world.update(DEPLOYMENTS, {**current, "metadata": {**current["metadata"], "annotations": notes}})

    def _resize(self, obj: Obj, rs: Obj, size: int) -> Obj:
        replicas, (surge, _) = self._replicas(obj), self._limits(obj)
        notes = rs["metadata"].get("annotations") or {}
        wanted = {**notes, DESIRED: str(replicas), MAXIMUM: str(replicas + surge)}
        before = self._replicas(rs)
        if before == size and wanted == notes:
            return rs
        changed = {**rs, "metadata": {**rs["metadata"], "annotations": wanted}}
        if before != size:
            changed["spec"] = {**rs["spec"], "replicas": size}
            self._group(rs).rolling = True
        made: Obj = self.world.update(REPLICASETS, changed)
        if before != size:
            way = "up" if size > before else "down"
            self._say(obj, f"Scaled {way} replica set {rs['metadata']['name']} from {before} to {size}")
        return made

    def _say(self, obj: Obj, message: str) -> None:
        self.cluster.record(obj, "Normal", "ScalingReplicaSet", message, _SOURCE)

    def _clean_up(self, obj: Obj, old: list[Obj]) -> None:
        """Old, empty ReplicaSets beyond revisionHistoryLimit go, oldest first."""
        limit = obj["spec"].get("revisionHistoryLimit")
        limit = 10 if limit is None else int(limit)
        empty = [r for r in old if self._replicas(r) == 0 and not self._group(r).active]
        for rs in empty[: max(0, len(empty) - limit)]:
            self.world.remove(REPLICASETS, rs["metadata"]["namespace"], rs["metadata"]["name"])

    def _complete(self, obj: Obj, new: Obj) -> bool:
        group = self._group(new)
        return group.active == self._replicas(obj) == self._available(new, obj)

    def _status(self, key: Key, new: Obj | None) -> None:
        obj = self.world.get(DEPLOYMENTS, *key)
        if obj is None:
            return
        sets = [r for r in self.world.owned_by(obj["metadata"]["uid"]) if r["kind"] == "ReplicaSet"]
        groups = [self._group(r) for r in sets]
        total = sum(g.active for g in groups)
        ready = sum(g.ready for g in groups)
        available = sum(self._available(r, obj) for r in sets)
        updated = self._group(new).active if new is not None else 0
        replicas = self._replicas(obj)
        settled = updated == replicas == total
        complete = settled and available == replicas
        for group in groups:  # pods that are not ready for another reason begin no roll-out: to look changes nothing
            group.rolling = not complete and (group.rolling or not settled)
        status: Obj = {"observedGeneration": obj["metadata"].get("generation", 1)}
        for field, value in (
            ("replicas", total),
            ("updatedReplicas", updated),
            ("readyReplicas", ready),
            ("availableReplicas", available),
            ("unavailableReplicas", max(0, total - available)),
        ):
            if value:
                status[field] = value
        before = obj.get("status") or {}
        if before.get("collisionCount"):
            status["collisionCount"] = before["collisionCount"]
        status["conditions"] = self._conditions(obj, before, new, complete, available)
        if status != before:
            obj = self.world.update(DEPLOYMENTS, {**obj, "status": status})
        recreates = (obj["spec"].get("strategy") or {}).get("type") == "Recreate"  # waits for pods that count no more
        if complete and not recreates and not obj["spec"].get("minReadySeconds"):
            self._complete_with[key] = self._seen(obj, sets)
        else:
            self._complete_with.pop(key, None)

    def _conditions(self, obj: Obj, before: Obj, new: Obj | None, complete: bool, available: int) -> list[Obj]:
        now = rfc3339(self.clock.now())
        _, unavailable = self._limits(obj)
        enough = available >= self._replicas(obj) - unavailable
        conditions = conditions_with(
            before.get("conditions"),
            {
                "type": "Available",
                "status": "True" if enough else "False",
                "reason": "MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable",
                "message": f"Deployment {'has' if enough else 'does not have'} minimum availability.",
            },
            now,
        )
        return conditions_with(conditions, self._progress(obj, conditions, new, complete, available), now)

    def _progress(self, obj: Obj, conditions: list[Obj], new: Obj | None, complete: bool, available: int) -> Obj:
        name = new["metadata"]["name"] if new is not None else ""
        last: Obj = next((c for c in conditions if c["type"] == "Progressing"), {})
        if complete:
            reason, told = "NewReplicaSetAvailable", f'ReplicaSet "{name}" has successfully progressed.'
        elif last.get("reason") == "NewReplicaSetAvailable" and last.get("message", "").startswith(
            f'ReplicaSet "{name}" '
        ):
            return last  # a finished roll-out stays finished when pods come and go
        elif new is not None and not self._group(new).pods and not last:
            reason, told = "NewReplicaSetCreated", f'Created new replica set "{name}"'
        else:
            reason, told = "ReplicaSetUpdated", f'ReplicaSet "{name}" is progressing.'
        status = "True"
        moved = (available, self._group(new).active if new is not None else 0)
        late = self._deadline(obj, moved, complete)
        if late:
            status, reason = "False", "ProgressDeadlineExceeded"
            told = f'ReplicaSet "{name}" has timed out progressing.'
        return {"type": "Progressing", "status": status, "reason": reason, "message": told}

    def _deadline(self, obj: Obj, moved: tuple[int, int], complete: bool) -> bool:
        """Whether nothing moved for progressDeadlineSeconds; looks again when that would be so."""
        uid = obj["metadata"]["uid"]
        if complete:
            self._progressed.pop(uid, None)
            return False
        seconds = obj["spec"].get("progressDeadlineSeconds")
        seconds = 600 if seconds is None else int(seconds)
        now = self.clock.now()
        key = (obj["metadata"]["namespace"], obj["metadata"]["name"])
        mark = (obj["metadata"].get("generation", 1), *moved)
        known = self._progressed.get(uid)
        if known is None or known[0] != mark:
            self._progressed[uid] = (mark, now)
            self.clock.call_later(seconds, lambda: self.enqueue(key) if uid in self._progressed else None)
            return False
        return now - known[1] >= seconds


def _revision(rs: Obj) -> int:
    text = (rs["metadata"].get("annotations") or {}).get(REVISION, "0")
    return int(text) if text.isdigit() else 0


def resolve(value: int | str, total: int, *, up: bool) -> int:
    """An int-or-percent of `total`; malformed text counts as 0."""
    if isinstance(value, int):
        return value
    digits = value.rstrip("%")
    if not digits.isdigit():
        return 0
    product = int(digits) * total
    return -(-product // 100) if up else product // 100


def _proportion(rs: Obj, size: int, left: int, allowed: int, replicas: int) -> int:
    """A ReplicaSet's share of the replicas to add or take, in proportion to its size (rounded to nearest)."""
    if size == 0 or left == 0 or allowed == 0:
        return -size if allowed == 0 else 0
    notes = rs["metadata"].get("annotations") or {}
    before = int(notes.get(MAXIMUM, "0") or 0) or replicas
    exact = size * allowed / before
    share = int(exact + 0.5) - size
    return min(share, left) if left > 0 else max(share, left)
