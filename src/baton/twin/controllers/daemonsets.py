"""The DaemonSet controller: one pod on every eligible node, rolled node by node.

Pods are bound by the scheduler through a required node affinity on metadata.name, as upstream; their automatic
tolerations let them onto cordoned and not-ready nodes.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from baton.twin.bulk.begin import Beyond
from baton.twin.bulk.layout import GOES_ON, RUNS_THERE, STAYS
from baton.twin.controllers.base import ADDED, BOUND, READY, REMOVED, Controller, Group, Key, Obj, Pod, pinned
from baton.twin.controllers.deployments import resolve
from baton.twin.controllers.lean import LeanPods, PodShape
from baton.twin.controllers.nodes import tolerated_for, tolerates
from baton.twin.controllers.pods import PodMaker
from baton.twin.controllers.selection import node_selected
from baton.twin.controllers.templates import new_pod, template_hash

DAEMONSETS = "daemonsets.apps"
REVISION_LABEL = "controller-revision-hash"
_SOURCE = "daemonset-controller"
_SELECTIVE = frozenset(("nodeName", "nodeSelector", "affinity"))  # what node_selected looks at
_AUTOMATIC = (
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
)


class _Set:
    """What is known of one DaemonSet between passes; every count follows the pods one by one."""

    __slots__ = ("at", "misplaced", "nodes", "old", "old_unready", "revision")

    def __init__(self) -> None:
        self.nodes: dict[str, None] | None = None  # where it should run; None: look at every node
        self.at: dict[str, dict[str, Pod]] = {}  # node -> pods of the set that are there or pinned there
        self.old: dict[str, Pod] = {}  # node -> live, ready pod of another revision
        self.old_unready: dict[str, Pod] = {}
        self.misplaced: dict[str, Pod] = {}  # node -> live pod where the set should not run
        self.revision = ""


class DaemonSetController(Controller):
    """Keys are (namespace, name). Knows for each set the nodes it belongs on, kept as nodes come and go."""

    def __init__(self, cluster: Any, maker: PodMaker) -> None:
        super().__init__(cluster)
        self.maker = maker
        self._sets: dict[str, _Set] = {}  # by uid
        self._adopted: dict[str, tuple[Obj, str]] = {}  # set uid -> (template, revision hash)
        self._specs: dict[str, tuple[Obj, Obj]] = {}
        self._unbound: dict[str, tuple[Obj, int]] = {}  # set uid -> (template, its rule on any node, or 0)
        self._look: dict[str, dict[str, None]] = {}  # set uid -> nodes to look at in the next pass
        self._unpublished: dict[Key, None] = {}
        self._everywhere: tuple[Any, Any] | None = None  # see everywhere

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

    def _set(self, uid: str) -> _Set:
        found = self._sets.get(uid)
        if found is None:
            found = self._sets[uid] = _Set()
        return found

    def _on_set(self, type_: str, resource: str, obj: Obj, old: Obj | None) -> None:
        uid = obj["metadata"]["uid"]
        bulk = self.cluster.bulk
        in_bulk = bulk is not None and uid in bulk.by_uid
        if in_bulk and (type_ == "DELETED" or obj["metadata"].get("deletionTimestamp")):
            raise Beyond(f"DaemonSet {obj['metadata']['name']} is deleted")
        if type_ == "MODIFIED" and old is not None and obj.get("spec") is old.get("spec"):
            return
        self._everywhere = None
        if type_ == "DELETED":
            self._specs.pop(uid, None)
            return
        if in_bulk:
            bulk.set_changed(uid)
            return
        self._set(uid).nodes = None
        self.enqueue((obj["metadata"]["namespace"], obj["metadata"]["name"]))

    def _on_node(self, type_: str, resource: str, obj: Obj, old: Obj | None) -> None:
        name = obj["metadata"]["name"]
        bulk = self.cluster.bulk
        if self.indifferent:
            assert self._everywhere is not None
            if type_ != "MODIFIED":
                bulk.news_of_node(name, self._everywhere[type_ == "DELETED"])
            return
        if type_ == "MODIFIED" and old is not None:
            same_spec = obj["spec"].get("taints") == old["spec"].get("taints")
            if same_spec and obj["metadata"].get("labels") == old["metadata"].get("labels"):
                return
        news: list[tuple[int, int]] = []
        for daemonset in self.world.items(DAEMONSETS):
            meta = daemonset["metadata"]
            number = bulk.by_uid.get(meta["uid"]) if bulk is not None else None
            if number is not None:
                if type_ == "DELETED":
                    news.append((number, 0))
                elif type_ == "ADDED" or not self._anywhere(meta["uid"], daemonset["spec"].get("template") or {}):
                    news.append((number, self.rule(daemonset, obj)))
                continue
            if news:
                bulk.news_of_node(name, bulk.news(news))
                news = []
            if type_ == "MODIFIED" and self._stays(daemonset, name):
                self._unpublished[(meta["namespace"], meta["name"])] = None
                continue
            self._look_at(meta["uid"], meta["namespace"], meta["name"], name)
        if news:
            bulk.news_of_node(name, bulk.news(news))

    @property
    def indifferent(self) -> bool:
        """Whether all sets are in bulk and run on any node, so that they only care which nodes there are."""
        bulk = self.cluster.bulk
        if bulk is None:
            return False
        if self._everywhere is None:
            sets = [(d["metadata"]["uid"], d["spec"].get("template") or {}) for d in self.world.items(DAEMONSETS)]
            rules = [(bulk.by_uid.get(uid, -1), self._anywhere(uid, template)) for uid, template in sets]
            same = all(number >= 0 and rule for number, rule in rules)
            self._everywhere = (bulk.news(rules), bulk.news([(n, 0) for n, _ in rules])) if same else (None, None)
        return self._everywhere[0] is not None

    def _stays(self, obj: Obj, node: str) -> bool:
        """Whether the set runs on the node already and does so whatever the node's labels and taints are."""
        uid, template = obj["metadata"]["uid"], obj["spec"].get("template") or {}
        known = self._sets.get(uid)
        if known is None or known.nodes is None or node not in known.nodes or self.settings.live_status:
            return False
        return self._anywhere(uid, template) != 0

    def _anywhere(self, uid: str, template: Obj) -> int:
        """The rule of a set that runs on any node, whatever its labels and taints; 0 for others."""
        found = self._unbound.get(uid)
        if found is None or found[0] is not template:
            tolerations, rule = self._spec(uid, template)["tolerations"], 0
            all_taints = any(
                t.get("operator") == "Exists" and not t.get("key") and not t.get("effect") for t in tolerations
            )
            if all_taints and not _SELECTIVE & (template.get("spec") or {}).keys():
                forever = all(t.get("tolerationSeconds") is None for t in tolerations)
                rule = RUNS_THERE | GOES_ON | (STAYS if forever else 0)
            found = self._unbound[uid] = (template, rule)
        return found[1]

    def rule(self, obj: Obj, node: Obj) -> int:
        """What holds for the set's pods on a node, as bits of bulk.layout."""
        anywhere = self._anywhere(obj["metadata"]["uid"], obj["spec"].get("template") or {})
        if anywhere:
            return anywhere
        runs, continues = self._belongs(obj, node)
        rule = (RUNS_THERE if runs else 0) | (GOES_ON if continues else 0)
        taints = [t for t in node["spec"].get("taints") or () if t.get("effect") == "NoExecute"]
        if not taints:
            return rule | STAYS
        spec = self._spec(obj["metadata"]["uid"], obj["spec"].get("template") or {})
        return rule | STAYS if tolerated_for(spec["tolerations"], taints) is None else rule

    def _look_at(self, uid: str, namespace: str, name: str, node: str) -> None:
        self._look.setdefault(uid, {})[node] = None
        self.enqueue((namespace, name))

    def on_pod(self, pod: Pod, bits: int) -> None:
        group = pod.owner
        if group is None or group.kind != "DaemonSet":
            return
        if bits == READY and not self.settings.live_status:
            known = self._set(group.uid)
            if not known.old and not known.old_unready:  # nothing is rolled that would wait for it
                self._unpublished[group.key] = None
                return
        node = pod.pinned or pod.node
        if bits & ADDED:
            known = self._set(group.uid)
            known.at.setdefault(node, {})[pod.name] = pod
            if known.nodes is not None and not self.settings.live_status and not (known.old or known.old_unready):
                self._unpublished[group.key] = None  # made in the pass under way, there is nothing to put right
                return
        elif bits & REMOVED:
            self._set(group.uid).at.get(node, {}).pop(pod.name, None)
        elif bits == BOUND:
            return
        self._look_at(group.uid, group.namespace, group.name, node)

    def settled(self, group: Group) -> bool:
        """Whether every pod of the set is where it should be and of its current revision."""
        known = self._sets.get(group.uid)
        if known is None or known.nodes is None or known.old or known.old_unready or known.misplaced:
            return False
        return group.uid not in self._look and group.key not in self.pending

    def nodes_of(self, group: Group) -> Iterable[str]:
        """Where a settled set should run."""
        return self._set(group.uid).nodes or ()

    # --- one pass

    def sync(self, key: Key) -> None:
        obj = self.world.get(DAEMONSETS, *key)
        if obj is None or obj["metadata"].get("deletionTimestamp"):
            return
        uid = obj["metadata"]["uid"]
        group = self.cluster.pods.group(uid, "DaemonSet", *key)
        known = self._set(uid)
        revision = self.revision(obj)
        look: Iterable[str] = self._look.pop(uid, {})
        if known.nodes is None or known.revision != revision:
            known.nodes, known.revision = {}, revision
            look = {**{n["metadata"]["name"]: None for n in self.world.items("nodes")}, **dict.fromkeys(known.at)}
        for name in list(look):
            self._place(obj, known, name)
        group.desired = len(known.nodes)
        if known.old or known.old_unready:
            self._roll(obj, group, known)
        if self.settings.live_status:
            self._write(obj, group)
        else:
            self._unpublished[key] = None

    def revision(self, obj: Obj) -> str:
        """The hash that pods of the set's current template carry."""
        uid, template = obj["metadata"]["uid"], obj["spec"].get("template") or {}
        known = self._adopted.get(uid)
        if known is not None and (known[0] is template or known[0] == template):
            return known[1]
        made = template_hash(template)
        self._adopted[uid] = (template, made)
        return made

    def _place(self, obj: Obj, known: _Set, name: str) -> None:
        """Put one node right: at most one live pod, made anew when it is missing or finished."""
        node = self.world.get("nodes", None, name)
        pods = known.at.get(name)
        live = [p for p in pods.values() if not p.terminating] if pods else []
        nodes = known.nodes if known.nodes is not None else {}
        runs, continues = self._belongs(obj, node) if node is not None else (False, False)
        for pod in [p for p in live if p.finished]:
            self.maker.delete(pod)
            live.remove(pod)
        if runs:
            nodes[name] = None
            if not live and not known.at.get(name):
                self._create(obj, name, known.revision)
                return
            for pod in live[1:]:
                self.maker.delete(pod)
        else:
            nodes.pop(name, None)
            if not continues:
                for pod in live:
                    self.maker.delete(pod)
                live = []
            if node is None and not known.at.get(name):
                known.at.pop(name, None)
        self._sort(known, name, live[0] if live else None, runs)

    def _sort(self, known: _Set, name: str, pod: Pod | None, runs: bool) -> None:
        """Keep the counts of the node's pod: old, old and not ready, misplaced."""
        known.old.pop(name, None)
        known.old_unready.pop(name, None)
        known.misplaced.pop(name, None)
        if pod is None or pod.gone:
            return
        if not runs:
            known.misplaced[name] = pod
        elif pod.labels.get(REVISION_LABEL) != known.revision:
            (known.old if pod.ready else known.old_unready)[name] = pod

    def _belongs(self, obj: Obj, node: Obj) -> tuple[bool, bool]:
        """(should run, may continue): affinity decides both; NoSchedule taints only keep new pods away."""
        uid, template = obj["metadata"]["uid"], obj["spec"].get("template") or {}
        spec = template.get("spec") or {}
        if _SELECTIVE & spec.keys() and not node_selected(spec, node):
            return False, False
        taints = node["spec"].get("taints")
        if not taints:
            return True, True
        tolerations = self._spec(uid, template)["tolerations"]
        runs = continues = True
        for taint in taints:
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

    def _create(self, obj: Obj, node: str, revision: str) -> None:
        meta = obj["metadata"]
        group = self.cluster.pods.group(meta["uid"], "DaemonSet", meta["namespace"], meta["name"])
        name = self.cluster.name_for_pod(meta["namespace"], meta["name"] + "-")
        build = partial(self._build, obj, name, node, revision)
        self.maker.make(self._kind(obj, revision), obj["spec"]["template"], group, name, build, node)
        self.cluster.record(obj, "Normal", "SuccessfulCreate", f"Created pod: {name}", _SOURCE)

    @staticmethod
    def _kind(obj: Obj, revision: str) -> tuple[str, str, str]:
        """Pods made under an equal one are equal but for name and node."""
        return (obj["metadata"]["uid"], revision, str(obj["metadata"].get("generation", 1)))

    def _build(self, obj: Obj, name: str, node: str, revision: str) -> Obj:
        meta, template = obj["metadata"], obj["spec"]["template"]
        base = self._spec(meta["uid"], template)
        affinity = dict(base.get("affinity") or {})
        affinity["nodeAffinity"] = pinned(affinity.get("nodeAffinity") or {}, node)
        labels = {**(template.get("metadata", {}).get("labels") or {}), REVISION_LABEL: revision}
        labels["pod-template-generation"] = str(meta.get("generation", 1))
        reference = self.maker.reference(obj, "apps/v1", "DaemonSet")
        spec = {**base, "affinity": affinity}
        return new_pod(name, meta["namespace"], template, spec, reference, labels, generate=meta["name"] + "-")

    def shape(self, obj: Obj, node: str) -> PodShape:
        """What the pods that the set makes now have in common; `node` is any."""
        revision = self.revision(obj)
        build = partial(self._build, obj, obj["metadata"]["name"], node, revision)
        lean: LeanPods = self.cluster.lean
        return lean.shape(self._kind(obj, revision), obj["spec"]["template"], build)

    def _roll(self, obj: Obj, group: Group, known: _Set) -> None:
        """RollingUpdate: old pods go while no more than maxUnavailable are away (maxSurge counts as that many)."""
        strategy = obj["spec"].get("updateStrategy") or {}
        if strategy.get("type") == "OnDelete":
            return
        rolling = strategy.get("rollingUpdate") or {}
        total = group.desired
        most = resolve(rolling.get("maxUnavailable", 1), total, up=True)
        most = most or resolve(rolling.get("maxSurge", 0), total, up=True) or 1
        away = total - (group.ready - sum(1 for p in known.misplaced.values() if p.ready))
        for pod in list(known.old_unready.values()):
            self._replace(obj, pod)
        known.old_unready.clear()
        while away < most and known.old:
            away += 1
            node = next(iter(known.old))
            self._replace(obj, known.old.pop(node))

    def _replace(self, obj: Obj, pod: Pod) -> None:
        self.cluster.record(obj, "Normal", "SuccessfulDelete", f"Deleted pod: {pod.name}", _SOURCE)
        self.maker.delete(pod)

    # --- status

    def refresh(self) -> None:
        """Write the statuses that were held back."""
        held, self._unpublished = self._unpublished, {}
        if self.cluster.bulk is not None:
            held.update(dict.fromkeys(self.cluster.bulk.changed_groups("DaemonSet")))
        for key in held:
            obj = self.world.get(DAEMONSETS, *key)
            if obj is not None:
                self._write(obj, self.cluster.pods.group(obj["metadata"]["uid"], "DaemonSet", *key))

    def _figures(self, group: Group) -> tuple[int, int, int, int]:
        """How many nodes it should run on, its misplaced pods, those of them that are ready, and its old pods."""
        bulk = self.cluster.bulk
        if bulk is not None and group.uid in bulk.by_uid:
            figures: tuple[int, int, int, int] = bulk.figures_of_set(group)
            return figures
        known = self._set(group.uid)
        misplaced = known.misplaced.values()
        old = len(known.old) + len(known.old_unready)
        return len(known.nodes or ()), len(misplaced), sum(1 for p in misplaced if p.ready), old

    def _write(self, obj: Obj, group: Group) -> None:
        total, misplaced, misplaced_ready, old = self._figures(group)
        ready = group.ready - misplaced_ready
        scheduled = group.active - misplaced
        updated = scheduled - old
        status: Obj = {
            "currentNumberScheduled": scheduled,
            "desiredNumberScheduled": total,
            "numberMisscheduled": misplaced,
            "numberReady": ready,
            "observedGeneration": obj["metadata"].get("generation", 1),
        }
        for field, value in (
            ("updatedNumberScheduled", updated),
            ("numberAvailable", ready),
            ("numberUnavailable", total - ready),
        ):
            if value > 0:
                status[field] = value
        if status != obj.get("status"):
            self.world.update(DAEMONSETS, {**obj, "status": status})
