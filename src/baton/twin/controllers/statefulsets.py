"""The StatefulSet controller: ordinals in order, one claim per pod, updates from the highest ordinal down.

A pod on a node that stopped reporting stays Terminating and is not replaced until the node is gone: two pods of one
ordinal never exist.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

from baton.logic.scheduling.infos import claim_names
from baton.logic.scheduling.volumes import inline_disk
from baton.twin.bulk.begin import Beyond
from baton.twin.controllers.base import Controller, Group, Key, Obj, Pod
from baton.twin.controllers.daemonsets import REVISION_LABEL
from baton.twin.controllers.deployments import resolve
from baton.twin.controllers.lean import PodShape
from baton.twin.controllers.pods import PodMaker
from baton.twin.controllers.templates import new_pod, template_hash

STATEFULSETS = "statefulsets.apps"
CLAIMS = "persistentvolumeclaims"
_SOURCE = "statefulset-controller"


class _Rules(NamedTuple):
    """What a set's spec says, read once for each version of the object."""

    obj: Obj
    group: Group
    update: str
    """The revision of new pods."""
    wanted: dict[str, int]
    """Names of the pods, with their ordinals."""
    ordered: bool
    partition: int
    most: int
    """How many may be away at once in an update; 0 where updates are left to whoever deletes pods."""


class StatefulSetController(Controller):
    """Keys are (namespace, name)."""

    def __init__(self, cluster: Any, maker: PodMaker) -> None:
        super().__init__(cluster)
        self.maker = maker
        self._revisions: dict[str, tuple[Obj, str]] = {}  # set uid -> (template, update revision)
        self._current: dict[str, str] = {}  # set uid -> the revision before the update under way
        self._unpublished: dict[Key, None] = {}
        self._rules: dict[Key, _Rules] = {}

    def start(self) -> None:
        for obj in list(self.world.items(STATEFULSETS)):
            self._adopt(obj)
            self.enqueue((obj["metadata"]["namespace"], obj["metadata"]["name"]))
        self.world.subscribe(self._on_set, resources=[STATEFULSETS])

    def _adopt(self, obj: Obj) -> None:
        status, meta = obj.get("status") or {}, obj["metadata"]
        if status.get("updateRevision") and status.get("observedGeneration", 0) >= meta.get("generation", 0):
            self._revisions[meta["uid"]] = (obj["spec"].get("template") or {}, status["updateRevision"])
            self._current[meta["uid"]] = status.get("currentRevision") or status["updateRevision"]
        elif not status:
            group = self.cluster.pods.groups.get(meta["uid"])
            hashes = {p.labels.get(REVISION_LABEL, "") for p in group.pods.values()} if group is not None else set()
            if len(hashes) == 1:
                self._revisions[meta["uid"]] = (obj["spec"].get("template") or {}, hashes.pop())

    def _on_set(self, type_: str, resource: str, obj: Obj, old: Obj | None) -> None:
        bulk = self.cluster.bulk
        if bulk is not None and obj["metadata"]["uid"] in bulk.by_uid:
            same = old is not None and obj.get("spec") is old.get("spec")
            if type_ != "MODIFIED" or not same or obj["metadata"].get("deletionTimestamp"):
                raise Beyond(f"StatefulSet {obj['metadata']['namespace']}/{obj['metadata']['name']} changes")
            return
        if type_ == "DELETED" or (type_ == "MODIFIED" and old is not None and obj.get("spec") is old.get("spec")):
            return
        self.enqueue((obj["metadata"]["namespace"], obj["metadata"]["name"]))

    def on_pod(self, pod: Pod, bits: int) -> None:
        group = pod.owner
        if group is not None and group.kind == "StatefulSet":
            self.enqueue((group.namespace, group.name))

    # --- one pass

    def sync(self, key: Key) -> None:
        bulk = self.cluster.bulk
        if bulk is not None and key in bulk.statefulsets:
            bulk.sync_group(bulk.statefulsets[key])
            return
        obj = self.world.get(STATEFULSETS, *key)
        rules = self._rules.get(key)
        if rules is None or rules.obj is not obj:
            if obj is None or obj["metadata"].get("deletionTimestamp"):
                return
            group = self.cluster.pods.group(obj["metadata"]["uid"], "StatefulSet", *key)
            rules = self._rules[key] = _rules(obj, group, self._revision_pair(obj)[0])
        group, update = rules.group, rules.update
        current = self._current[group.uid]
        replicas = group.desired = len(rules.wanted)
        if self._settle(rules, group.pods, update, current):
            self._update(rules, group.pods, update)
        if current != update:
            live = [p for p in group.pods.values() if not p.terminating and not p.gone]
            if len(live) == replicas and all(p.labels.get(REVISION_LABEL) == update and p.ready for p in live):
                self._current[group.uid] = current = update
        group.rolling = current != update
        if self.settings.live_status:
            self._write(rules.obj, group)
        else:
            self._unpublished[key] = None

    def _revision_pair(self, obj: Obj) -> tuple[str, str]:
        uid, template = obj["metadata"]["uid"], obj["spec"].get("template") or {}
        known = self._revisions.get(uid)
        if known is None or (known[0] is not template and known[0] != template):
            if known is not None:
                self._current.setdefault(uid, known[1])
            known = self._revisions[uid] = (template, f"{obj['metadata']['name']}-{template_hash(template)}")
        return known[1], self._current.setdefault(uid, known[1])

    def _settle(self, rules: _Rules, pods: dict[str, Pod], update: str, current: str) -> bool:
        """Create what is missing and delete what is too much; True when every ordinal is there, healthy and staying."""
        obj, ordered = rules.obj, rules.ordered
        settled = True
        for name, ordinal in rules.wanted.items():
            pod = pods.get(name)
            if pod is not None and pod.ready and not pod.terminating and pod.phase == "Running":
                continue
            if pod is not None and pod.finished and not pod.terminating:
                self.maker.delete(pod)
                pod = None if pod.gone else pod
            if pod is None:
                fresh = ordinal >= rules.partition or current == update
                self._create(obj, name, ordinal, update if fresh else current)
                settled = False
            elif pod.terminating or not pod.ready:
                settled = False
            if not settled and ordered:
                return False  # the next ordinal waits for this one
        if settled and len(pods) == len(rules.wanted):
            return True
        for name in sorted((n for n in pods if n not in rules.wanted and _ordinal(n) >= 0), key=_ordinal, reverse=True):
            pod = pods[name]
            if not pod.terminating and (settled or not ordered):
                self._remove(obj, pod)
            settled = False
            if ordered:
                return False
        return settled

    def _update(self, rules: _Rules, pods: dict[str, Pod], update: str) -> None:
        """Old pods from the highest ordinal down, no more than maxUnavailable (1) away at once."""
        most = rules.most
        for name, ordinal in reversed(rules.wanted.items()):
            if ordinal < rules.partition or most <= 0:
                return
            pod = pods[name]
            if pod.labels.get(REVISION_LABEL) != update:
                self._remove(rules.obj, pod)
                most -= 1

    # --- writing

    def _remove(self, obj: Obj, pod: Pod) -> None:
        name = obj["metadata"]["name"]
        said = f"delete Pod {pod.name} in StatefulSet {name} successful"
        self.cluster.record(obj, "Normal", "SuccessfulDelete", said, _SOURCE)
        self.maker.delete(pod)

    def _create(self, obj: Obj, name: str, ordinal: int, revision: str) -> None:
        meta, template = obj["metadata"], obj["spec"]["template"]
        if self.cluster.pods.has((meta["namespace"], name)):
            return  # a stranger holds the name
        self._make_claims(obj, name)
        group = self.cluster.pods.group(meta["uid"], "StatefulSet", meta["namespace"], meta["name"])
        kin = (meta["uid"], revision)
        build = partial(self._build, obj, name, ordinal, revision)
        self.maker.make((*kin, ordinal), template, group, name, build, kin=kin)
        said = f"create Pod {name} in StatefulSet {meta['name']} successful"
        self.cluster.record(obj, "Normal", "SuccessfulCreate", said, _SOURCE)

    def _build(self, obj: Obj, name: str, ordinal: int, revision: str) -> Obj:
        """The pod of an ordinal."""
        meta, template = obj["metadata"], obj["spec"]["template"]
        spec = self.maker.spec_for(meta["uid"], template)
        labels = {
            **(template.get("metadata", {}).get("labels") or {}),
            "apps.kubernetes.io/pod-index": str(ordinal),
            REVISION_LABEL: revision,
            "statefulset.kubernetes.io/pod-name": name,
        }
        own: Obj = {"hostname": name}
        if obj["spec"].get("serviceName"):
            own["subdomain"] = obj["spec"]["serviceName"]
        claims = _claim_templates(obj)
        if claims:
            kept = [v for v in spec.get("volumes") or () if v.get("name") not in claims]
            made = [{"name": c, "persistentVolumeClaim": {"claimName": f"{c}-{name}"}} for c in claims]
            own["volumes"] = kept + made
        reference = self.maker.reference(obj, "apps/v1", "StatefulSet")
        whole = {**spec, **own}
        return new_pod(name, meta["namespace"], template, whole, reference, labels, generate=meta["name"] + "-")

    def _make_claims(self, obj: Obj, pod: str) -> None:
        """The ordinal's claims where they are missing; they outlive the pod."""
        namespace = obj["metadata"]["namespace"]
        for volume, template in _claim_templates(obj).items():
            claim = f"{volume}-{pod}"
            if self.world.get(CLAIMS, namespace, claim) is None:
                labels = {
                    **(template["metadata"].get("labels") or {}),
                    **((obj["spec"].get("selector") or {}).get("matchLabels") or {}),
                }
                self.world.create(
                    CLAIMS,
                    {
                        "apiVersion": "v1",
                        "kind": "PersistentVolumeClaim",
                        "metadata": {"name": claim, "namespace": namespace, "labels": labels},
                        "spec": {"volumeMode": "Filesystem", **(template.get("spec") or {})},
                        "status": {"phase": "Pending"},
                    },
                )
                said = f"create Claim {claim} Pod {pod} in StatefulSet {obj['metadata']['name']} success"
                self.cluster.record(obj, "Normal", "SuccessfulCreate", said, _SOURCE)

    # --- sets whose pods are rows, see twin/bulk

    def settled(self, obj: Obj, group: Group) -> bool:
        """Whether every ordinal is there and nobody else, all of the only revision."""
        rules = self._rules.get(group.key)
        if rules is None or rules.obj["spec"] is not obj["spec"] or rules.group is not group or group.rolling:
            return False
        update = rules.update
        if self._current.get(group.uid) != update or group.pods.keys() != rules.wanted.keys():
            return False
        return all(p.labels.get(REVISION_LABEL) == update for p in group.pods.values())

    def order_of(self, key: Key) -> tuple[dict[str, int], bool]:
        """(names of a settled set's pods with their ordinals, whether these wait for those before them)."""
        rules = self._rules[key]
        return rules.wanted, rules.ordered

    def claims_of(self, obj: Obj) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
        """(claims that every pod mounts, names of the templates of its own); None when it mounts volumes that are
        neither claims nor free of any rule."""
        own = _claim_templates(obj)
        volumes = obj["spec"]["template"]["spec"].get("volumes") or ()
        kept = [v for v in volumes if v.get("name") not in own]
        if any(v.get("ephemeral") is not None or inline_disk(v) for v in kept):
            return None
        return claim_names({"spec": {"volumes": kept}}), tuple(own)

    def shape(self, obj: Obj, name: str, ordinal: int) -> PodShape:
        """What the next pod of an ordinal looks like."""
        meta, revision = obj["metadata"], self._rules[obj["metadata"]["namespace"], obj["metadata"]["name"]].update
        kin = (meta["uid"], revision)
        build = partial(self._build, obj, name, ordinal, revision)
        shape: PodShape = self.cluster.lean.shape((*kin, ordinal), obj["spec"]["template"], build, kin)
        return shape

    def refresh(self) -> None:
        """Write the statuses that were held back."""
        held, self._unpublished = self._unpublished, {}
        if self.cluster.bulk is not None:
            held.update(dict.fromkeys(self.cluster.bulk.changed_groups("StatefulSet")))
        for key in held:
            obj = self.world.get(STATEFULSETS, *key)
            if obj is not None:
                self._write(obj, self.cluster.pods.group(obj["metadata"]["uid"], "StatefulSet", *key))

    def _write(self, obj: Obj, group: Group) -> None:
        key = (group.namespace, group.name)
        update, current = self._revision_pair(obj)
        there, live, updated = self._counts(group, update)
        status: Obj = {
            "availableReplicas": self.maker.available(
                group, obj["spec"].get("minReadySeconds") or 0, lambda: self.enqueue(key)
            ),
            "collisionCount": 0,
            "currentRevision": current,
            "observedGeneration": obj["metadata"].get("generation", 1),
            "replicas": there,
            "updateRevision": update,
        }
        now = live - updated if current != update else updated
        for field, value in (
            ("currentReplicas", now),
            ("readyReplicas", group.ready),
            ("updatedReplicas", updated),
        ):
            if value:
                status[field] = value
        if status != obj.get("status"):
            self.world.update(STATEFULSETS, {**obj, "status": status})

    def _counts(self, group: Group, update: str) -> tuple[int, int, int]:
        """Pods, those of them that stay, those of the update's revision."""
        bulk = self.cluster.bulk
        if bulk is not None and group.uid in bulk.by_uid:
            there = bulk.taken_seats(group)
            return there, group.active, group.active
        live = [p for p in group.pods.values() if not p.terminating]
        return len(group.pods), len(live), sum(1 for p in live if p.labels.get(REVISION_LABEL) == update)


def _claim_templates(obj: Obj) -> dict[str, Obj]:
    """The set's volumeClaimTemplates by name."""
    return {t["metadata"]["name"]: t for t in obj["spec"].get("volumeClaimTemplates") or ()}


def _rules(obj: Obj, group: Group, update: str) -> _Rules:
    spec = obj["spec"]
    replicas = 1 if spec.get("replicas") is None else int(spec["replicas"])
    first = int((spec.get("ordinals") or {}).get("start") or 0)
    strategy = spec.get("updateStrategy") or {}
    rolling = strategy.get("rollingUpdate") or {}
    most = 0
    if strategy.get("type") != "OnDelete":
        most = max(1, resolve(rolling.get("maxUnavailable", 1), replicas, up=True))
    ordered = spec.get("podManagementPolicy") != "Parallel"
    wanted = {f"{obj['metadata']['name']}-{ordinal}": ordinal for ordinal in range(first, first + replicas)}
    return _Rules(obj, group, update, wanted, ordered, int(rolling.get("partition") or 0), most)


def _ordinal(name: str) -> int:
    """The number at the end of a pod's name, -1 where there is none."""
    digits = name.rpartition("-")[2]
    return int(digits) if digits.isdigit() else -1
