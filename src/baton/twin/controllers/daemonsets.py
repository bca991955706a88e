"""The DaemonSet controller: one pod on every eligible node, rolled node by node.

Pods are bound by the scheduler through a required node affinity on metadata.name, as upstream; their automatic
tolerations let them onto cordoned and not-ready nodes.
"""

from __future__ import annotations

from typing import Any

from baton.twin.controllers.base import Controller, Group, Key, Obj, Pod
from baton.twin.controllers.deployments import resolve
from baton.twin.controllers.nodes import tolerates
from baton.twin.controllers.pods import PodMaker
from baton.twin.controllers.selection import node_selected
from baton.twin.controllers.templates import new_pod, template_hash

DAEMONSETS = "daemonsets.apps"
REVISION_LABEL = "controller-revision-hash"
_SOURCE = "daemonset-controller"
_AUTOMATIC = (
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
)


class DaemonSetController(Controller):
    """Keys are (namespace, name). Knows for each set the nodes it belongs on, kept as nodes come and go."""

    def __init__(self, cluster: Any, maker: PodMaker) -> None:
        super().__init__(cluster)
        self.maker = maker
        self._on: dict[str, dict[str, Pod | None]] = {}  # set uid -> eligible node -> its pod
        self._adopted: dict[str, tuple[Obj, str]] = {}  # set uid -> (template, revision hash)
        self._specs: dict[str, tuple[Obj, Obj]] = {}
        self._partial: dict[str, set[str]] = {}  # set uid -> nodes to look at; absent: all
        self._rolled: dict[str, str] = {}  # set uid -> the revision all its pods have
        self._unpublished: dict[Key, None] = {}

    def start(self) -> None:
        for obj in list(self.world.items(DAEMONSETS)):
            self._adopt(obj)
            self.enqueue((obj["metadata"]["namespace"], obj["metadata"]["name"]))
        self.world.subscribe(self._on_set, resources=[DAEMONSETS])
        self.world.subscribe(self._on_node, resources=["nodes"])

    def _adopt(self, obj: Obj) -> None:
        """Pods that run as the set's current revision stay: the hash most of them carry is taken for its name."""
        status, meta = obj.get("status") or {}, obj["metadata"]
        if status.get("observedGeneration", 0) < meta.get("generation", 0):
            return
        if status.get("updatedNumberScheduled", 0) < status.get("desiredNumberScheduled", 0):
            return
        group = self.cluster.pods.groups.get(meta["uid"])
        counts: dict[str, int] = {}
        for pod in group.pods.values() if group is not None else ():
            revision = pod.labels.get(REVISION_LABEL, "")
            counts[revision] = counts.get(revision, 0) + 1
        if counts:
            best = max(sorted(counts), key=lambda r: counts[r])
            self._adopted[meta["uid"]] = (obj["spec"].get("template") or {}, best)

    def _on_set(self, type_: str, resource: str, obj: Obj, old: Obj | None) -> None:
        uid = obj["metadata"]["uid"]
        if type_ == "MODIFIED" and old is not None and obj.get("spec") is old.get("spec"):
            return
        self._on.pop(uid, None)
        if type_ == "DELETED":
            self._specs.pop(uid, None)
            return
        self.enqueue((obj["metadata"]["namespace"], obj["metadata"]["name"]))

    def _on_node(self, type_: str, resource: str, obj: Obj, old: Obj | None) -> None:
        if type_ == "MODIFIED" and old is not None:
            same_spec = obj["spec"].get("taints") == old["spec"].get("taints")
            if same_spec and obj["metadata"].get("labels") == old["metadata"].get("labels"):
                return
        name = obj["metadata"]["name"]
        for daemonset in self.world.items(DAEMONSETS):
            self._look_at(daemonset["metadata"], name)

    def _look_at(self, meta: Obj, node: str) -> None:
        key = (meta["namespace"], meta["name"])
        if key not in self.pending:
            self._partial[meta["uid"]] = {node}
        elif meta["uid"] in self._partial:
            self._partial[meta["uid"]].add(node)
        self.enqueue(key)

    def on_pod(self, pod: Pod, bits: int) -> None:
        group = pod.owner
        if group is not None and group.kind == "DaemonSet":
            node = pod.node or wanted_node(pod.obj)
            self._look_at({"namespace": group.namespace, "name": group.name, "uid": group.uid}, node)

    # --- one pass

    def sync(self, key: Key) -> None:
        obj = self.world.get(DAEMONSETS, *key)
        if obj is None or obj["metadata"].get("deletionTimestamp"):
            return
        uid = obj["metadata"]["uid"]
        group = self.cluster.pods.group(uid, "DaemonSet", *key)
        revision = self._revision(obj)
        partial = self._partial.pop(uid, None)
        nodes = self._on.get(uid)
        if nodes is None or partial is None:
            nodes = self._on[uid] = {}
            names = [n["metadata"]["name"] for n in self.world.items("nodes")]
            by_node: dict[str, list[Pod]] = {}
            for pod in group.pods.values():
                by_node.setdefault(pod.node or wanted_node(pod.obj), []).append(pod)
            for name in names:
                self._place(obj, group, nodes, name, by_node.get(name, []), revision)
            for name in by_node.keys() - set(names):
                for pod in by_node[name]:
                    if not pod.terminating:
                        self.maker.delete(pod)
        else:
            for name in sorted(partial):
                here = self.cluster.pods.by_node.get(name) or {}
                pods = [p for p in here.values() if p.owner is group]
                last = nodes.get(name)
                if last is not None and last.owner is group and not last.gone and last not in pods:
                    pods.append(last)
                self._place(obj, group, nodes, name, pods, revision)
        group.desired = len(nodes)
        self._roll(obj, group, nodes, revision)
        if self.settings.live_status or group.rolling:
            self._write(obj, group, nodes, revision)
        else:
            self._unpublished[key] = None

    def _revision(self, obj: Obj) -> str:
        uid, template = obj["metadata"]["uid"], obj["spec"].get("template") or {}
        known = self._adopted.get(uid)
        if known is not None and (known[0] is template or known[0] == template):
            return known[1]
        made = template_hash(template)
        self._adopted[uid] = (template, made)
        return made

    def _place(
        self, obj: Obj, group: Group, nodes: dict[str, Pod | None], name: str, pods: list[Pod], revision: str
    ) -> None:
        """Put one node right: at most one live pod, made anew when it is missing or finished."""
        node = self.world.get("nodes", None, name)
        live = [p for p in pods if not p.terminating and not p.gone]
        runs, continues = self._belongs(obj, node) if node is not None else (False, False)
        for pod in [p for p in live if p.finished]:
            self.maker.delete(pod)
            live.remove(pod)
        if runs:
            nodes[name] = live[0] if live else (nodes.get(name) if _leaving(nodes.get(name)) else None)
            if not live and not any(not p.gone and p.terminating for p in pods):
                nodes[name] = self._create(obj, group, name, revision)
            for pod in live[1:]:
                if not _surging(obj):
                    self.maker.delete(pod)
        else:
            nodes.pop(name, None)
            if not continues:
                for pod in live:
                    self.maker.delete(pod)

    def _belongs(self, obj: Obj, node: Obj) -> tuple[bool, bool]:
        """(should run, may continue): affinity decides both; NoSchedule taints only keep new pods away."""
        uid, template = obj["metadata"]["uid"], obj["spec"].get("template") or {}
        spec = template.get("spec") or {}
        if not node_selected(spec, node):
            return False, False
        tolerations = self._spec(uid, template)["tolerations"]
        runs = continues = True
        for taint in node["spec"].get("taints") or ():
            if taint.get("effect") == "PreferNoSchedule" or any(tolerates(t, taint) for t in tolerations):
                continue
            runs = False
            continues = continues and taint.get("effect") != "NoExecute"
        return runs, continues

    def _spec(self, uid: str, template: Obj) -> Obj:
        known = self._specs.get(uid)
        if known is not None and known[0] is template:
            return known[1]
        full = dict(self.maker.spec_for(uid, template))
        tolerations = [
            t
            for t in full["tolerations"]
            if not (t.get("tolerationSeconds") is not None and t.get("key") in (_AUTOMATIC[0][0], _AUTOMATIC[1][0]))
        ]
        automatic = [*_AUTOMATIC]
        if full.get("hostNetwork"):
            automatic.append(("node.kubernetes.io/network-unavailable", "NoSchedule"))
        for key, effect in automatic:
            added = {"key": key, "operator": "Exists", "effect": effect}
            if added not in tolerations:
                tolerations.append(added)
        full["tolerations"] = tolerations
        self._specs[uid] = (template, full)
        return full

    def _create(self, obj: Obj, group: Group, node: str, revision: str) -> Pod | None:
        meta, template = obj["metadata"], obj["spec"]["template"]
        base = self._spec(meta["uid"], template)
        affinity = dict(base.get("affinity") or {})
        affinity["nodeAffinity"] = _pinned(affinity.get("nodeAffinity") or {}, node)
        labels = {**(template.get("metadata", {}).get("labels") or {}), REVISION_LABEL: revision}
        labels["pod-template-generation"] = str(meta.get("generation", 1))
        name = self.cluster.name_for("pods", meta["namespace"], meta["name"] + "-")
        reference = self.maker.reference(obj, "apps/v1", "DaemonSet")
        spec = {**base, "affinity": affinity}
        self.maker.create(
            new_pod(name, meta["namespace"], template, spec, reference, labels, generate=meta["name"] + "-")
        )
        self.cluster.record(obj, "Normal", "SuccessfulCreate", f"Created pod: {name}", _SOURCE)
        return self.cluster.pods.by_key.get((meta["namespace"], name))

    def _roll(self, obj: Obj, group: Group, nodes: dict[str, Pod | None], revision: str) -> None:
        """RollingUpdate: old pods go while no more than maxUnavailable are away (maxSurge is treated as that many)."""
        strategy = obj["spec"].get("updateStrategy") or {}
        known = self._rolled.get(group.uid)
        if known == revision and not group.rolling:
            return
        old = [p for p in nodes.values() if p is not None and p.labels.get(REVISION_LABEL) != revision]
        missing = sum(1 for p in nodes.values() if p is None or p.terminating or p.gone)
        group.rolling = bool(old) or missing > 0 or group.ready < len(nodes)
        if not old:
            if not group.rolling:
                self._rolled[group.uid] = revision
            return
        if strategy.get("type") == "OnDelete":
            return
        rolling = strategy.get("rollingUpdate") or {}
        most = resolve(rolling.get("maxUnavailable", 1), len(nodes), up=True)
        most = most or resolve(rolling.get("maxSurge", 0), len(nodes), up=True) or 1
        away = sum(1 for p in nodes.values() if p is None or p.gone or p.terminating or not p.ready)
        for pod in old:
            if pod.terminating or pod.gone:
                continue
            if not pod.ready:
                self._replace(obj, pod)
            elif away < most:
                away += 1
                self._replace(obj, pod)

    def _replace(self, obj: Obj, pod: Pod) -> None:
        self.cluster.record(obj, "Normal", "SuccessfulDelete", f"Deleted pod: {pod.name}", _SOURCE)
        self.maker.delete(pod)

    # --- status

    def refresh(self) -> None:
        """Write the statuses that were held back."""
        held, self._unpublished = self._unpublished, {}
        for key in held:
            obj = self.world.get(DAEMONSETS, *key)
            if obj is not None and obj["metadata"]["uid"] in self._on:
                uid = obj["metadata"]["uid"]
                group = self.cluster.pods.group(uid, "DaemonSet", *key)
                self._write(obj, group, self._on[uid], self._revision(obj))

    def _write(self, obj: Obj, group: Group, nodes: dict[str, Pod | None], revision: str) -> None:
        live = [p for p in nodes.values() if p is not None and not p.gone and not p.terminating]
        ready = sum(1 for p in live if p.ready)
        updated = sum(1 for p in live if p.labels.get(REVISION_LABEL) == revision)
        misplaced = sum(
            1 for p in group.pods.values() if not p.terminating and (p.node or wanted_node(p.obj)) not in nodes
        )
        status: Obj = {
            "currentNumberScheduled": len(live),
            "desiredNumberScheduled": len(nodes),
            "numberMisscheduled": misplaced,
            "numberReady": ready,
            "observedGeneration": obj["metadata"].get("generation", 1),
        }
        for field, value in (
            ("updatedNumberScheduled", updated),
            ("numberAvailable", ready),
            ("numberUnavailable", len(nodes) - ready),
        ):
            if value:
                status[field] = value
        if status != obj.get("status"):
            self.world.update(DAEMONSETS, {**obj, "status": status})


def _leaving(pod: Pod | None) -> bool:
    return pod is not None and not pod.gone and pod.terminating


def _surging(obj: Obj) -> bool:
    rolling = (obj["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}
    return bool(rolling.get("maxSurge"))


def _pinned(affinity: Obj, node: str) -> Obj:
    """The node affinity with every required term narrowed to one node by name."""
    field = {"key": "metadata.name", "operator": "In", "values": [node]}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    terms = required.get("nodeSelectorTerms") or []
    pinned = [{**t, "matchFields": [field]} for t in terms] or [{"matchFields": [field]}]
    return {**affinity, "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": pinned}}


def wanted_node(pod: Obj) -> str:
    """The node that a DaemonSet's pod is pinned to, "" for others."""
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    for term in required.get("nodeSelectorTerms") or ():
        for field in term.get("matchFields") or ():
            if field.get("key") == "metadata.name" and field.get("values"):
                return str(field["values"][0])
    return ""
