"""Other ways to carry a plan out: pace, strategy, order, budgets, replicas, addresses, force. Each changes a copy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from baton.model.cluster import KubeObject, NodeGroup, Snapshot, UpdateConfig
from baton.model.plan import Plan, Stage, StageKind
from baton.rehearsal.unblock import SEVERAL

PDBS = "poddisruptionbudgets.policy"
Json = dict[str, Any]


@dataclass(frozen=True)
class Variant:
    """`change` in a few words, `how` to make it (one line each), `settings` for machines; then what is rehearsed."""

    change: str
    how: tuple[str, ...]
    settings: Json
    snapshot: Snapshot
    plan: Plan
    force: bool = False


@dataclass(frozen=True)
class Subject:
    """What variants are made from; `prefix` tells what was already changed on it."""

    snapshot: Snapshot
    plan: Plan
    prefix: str = ""
    how: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    def variant(
        self,
        change: str,
        how: Sequence[str],
        settings: Json,
        *,
        snapshot: Snapshot | None = None,
        plan: Plan | None = None,
        force: bool = False,
    ) -> Variant:
        return Variant(
            self.prefix + change,
            (*self.how, *how),
            {**self.settings, **settings},
            snapshot or self.snapshot,
            plan or self.plan,
            force,
        )


# --- pace and strategy -----------------------------------------------------------------------------------------------


def paced(subject: Subject, groups: Iterable[str], scale: Callable[[int, int], int], words: str) -> Variant | None:
    """Groups at another pace: `scale(parallelism, nodes)` gives the new max_unavailable. None when nothing changes."""
    chosen, settings, how = [], {}, []
    names = set(groups)
    for group in subject.snapshot.node_groups:
        now = group.update_config.parallelism(group.desired_size)
        wanted = max(1, min(100, group.desired_size, scale(now, group.desired_size)))
        if group.name not in names or wanted == now:
            chosen.append(group)
            continue
        chosen.append(replace(group, update_config=UpdateConfig(wanted, None, group.update_config.strategy)))
        settings[group.name] = {"maxUnavailable": wanted}
        how.append(f"node group {group.name}: update_config {{ max_unavailable = {wanted} }} (now {now} at once)")
    if not settings:
        return None
    snapshot = replace(subject.snapshot, node_groups=tuple(chosen))
    return subject.variant(words, how, {"updateConfig": settings}, snapshot=snapshot)


def minimal(subject: Subject, groups: Iterable[str], words: str) -> Variant | None:
    """Groups that give up old nodes before new ones come (update strategy MINIMAL)."""
    names = {n for n in groups if (g := subject.snapshot.node_group(n)) and g.update_config.strategy != "MINIMAL"}
    if not names:
        return None

    def change(group: NodeGroup) -> NodeGroup:
        if group.name not in names:
            return group
        return replace(group, update_config=replace(group.update_config, strategy="MINIMAL"))

    return subject.variant(
        words,
        [f"node group {n}: update strategy MINIMAL (no surge of two nodes a zone)" for n in sorted(names)],
        {"strategy": {n: "MINIMAL" for n in sorted(names)}},
        snapshot=replace(subject.snapshot, node_groups=tuple(change(g) for g in subject.snapshot.node_groups)),
    )


# --- order -----------------------------------------------------------------------------------------------------------


def _batches(plan: Plan) -> list[list[Stage]]:
    """Stages, node groups that follow one another in one list."""
    found: list[list[Stage]] = []
    for stage in plan.stages:
        rolls = stage.kind is StageKind.NODE_GROUP
        if rolls and found and found[-1][0].kind is StageKind.NODE_GROUP:
            found[-1].append(stage)
        else:
            found.append([stage])
    return found


def _numbered(plan: Plan, stages: Iterable[Stage]) -> Plan:
    return replace(plan, stages=tuple(replace(s, ordinal=i) for i, s in enumerate(stages, start=1)))


def together(subject: Subject) -> Variant | None:
    """All node groups of a version at the same time."""
    batches = _batches(subject.plan)
    if all(len(b) == 1 for b in batches):
        return None
    stages = [b[0] if len(b) == 1 else _merged(b) for b in batches]
    return subject.variant(
        "all node groups at the same time",
        [f"roll the node groups side by side: --parallel-groups {max(len(b) for b in batches)}"],
        {"together": True},
        plan=_numbered(subject.plan, stages),
    )


def _merged(stages: Sequence[Stage]) -> Stage:
    changes = tuple(c for s in stages for c in s.changes)
    return replace(stages[0], name="node groups " + ", ".join(c.name for c in changes), changes=changes)


def reversed_order(subject: Subject) -> Variant | None:
    """The largest group first."""
    batches = _batches(subject.plan)
    if all(len(b) == 1 for b in batches):
        return None
    order = [c.name for b in batches if len(b) > 1 for s in reversed(b) for c in s.changes]
    return subject.variant(
        "the node groups in reverse order",
        ["roll in the order " + ", ".join(order)],
        {"order": order},
        plan=_numbered(subject.plan, [s for b in batches for s in reversed(b)]),
    )


# --- budgets, replicas, addresses, force -----------------------------------------------------------------------------

Stuck = tuple[str, str, str]  # namespace, budget, code of rehearsal.unblock


def mended(subject: Subject, stuck: Sequence[Stuck]) -> Variant | None:
    """Budgets that can never let a pod go, made to let one go; of several on one pod the first is left."""
    if not stuck:
        return None
    codes = {(ns, name): code for ns, name, code in stuck}
    kept: list[KubeObject] = []
    how, gone = [], []
    for budget in subject.snapshot.objects.get(PDBS, ()):
        meta = budget["metadata"]
        key = (meta.get("namespace") or "", meta["name"])
        code = codes.get(key)
        if code == SEVERAL:
            gone.append("/".join(key))
            continue
        if code is not None:
            how.append(f"budget {'/'.join(key)}: maxUnavailable: 1")
            spec = {k: v for k, v in budget["spec"].items() if k not in ("minAvailable", "maxUnavailable")}
            budget = {**budget, "spec": {**spec, "maxUnavailable": 1}, "status": {}}
        kept.append(budget)
    how += [f"budget {name}: delete it, another one covers its pods" for name in gone]
    words = f"mend {len(codes)} budget{'s' if len(codes) > 1 else ''}"
    objects = {**subject.snapshot.objects, PDBS: tuple(kept)}
    return subject.variant(
        words,
        how,
        {"budgets": {"/".join(k): "delete" if c == SEVERAL else {"maxUnavailable": 1} for k, c in codes.items()}},
        snapshot=replace(subject.snapshot, objects=objects),
    )


def loosened(subject: Subject, budgets: Sequence[tuple[str, str]]) -> Variant | None:
    """Budgets that let pods go too slowly for a drain's 15 minutes: a quarter at once."""
    names = set(budgets)
    if not names:
        return None

    def change(budget: KubeObject) -> KubeObject:
        meta = budget["metadata"]
        if (meta.get("namespace") or "", meta["name"]) not in names:
            return budget
        spec = {k: v for k, v in budget["spec"].items() if k not in ("minAvailable", "maxUnavailable")}
        return {**budget, "spec": {**spec, "maxUnavailable": "25%"}, "status": {}}

    objects = {**subject.snapshot.objects, PDBS: tuple(map(change, subject.snapshot.objects.get(PDBS, ())))}
    listed = sorted("/".join(n) for n in names)
    return subject.variant(
        f"budgets of {len(names)} slow workload{'s' if len(names) > 1 else ''} at 25 %",
        [f"budget {name}: maxUnavailable: 25%" for name in listed],
        {"budgets": {name: {"maxUnavailable": "25%"} for name in listed}},
        snapshot=replace(subject.snapshot, objects=objects),
    )


def replicated(subject: Subject, workloads: Iterable[str]) -> Variant | None:
    """One replica more for Deployments that have a single one behind a budget. Names as in the tally."""
    wanted = {tuple(w.partition(" ")[2].split("/", 1)) for w in workloads if w.startswith("Deployment ")}
    if not wanted:
        return None
    found = dict(subject.snapshot.objects)
    owners = set()
    deployments = []
    for obj in found.get("deployments.apps", ()):
        meta = obj["metadata"]
        if (meta.get("namespace") or "", meta["name"]) in wanted:
            owners.add(meta.get("uid"))
            obj = _scaled(obj)
        deployments.append(obj)
    found["deployments.apps"] = tuple(deployments)
    found["replicasets.apps"] = tuple(
        _scaled(o)
        if o["spec"].get("replicas")
        and any(r.get("controller") and r.get("uid") in owners for r in o["metadata"].get("ownerReferences") or ())
        else o
        for o in found.get("replicasets.apps", ())
    )
    names = sorted("/".join(w) for w in wanted)
    return subject.variant(
        f"a second replica for {len(names)} workload{'s' if len(names) > 1 else ''}",
        [f"deployment {name}: one replica more" for name in names],
        {"replicas": {name: "+1" for name in names}},
        snapshot=replace(subject.snapshot, objects=found),
    )


def _scaled(obj: KubeObject) -> KubeObject:
    return {**obj, "spec": {**obj["spec"], "replicas": (obj["spec"].get("replicas") or 1) + 1}}


def roomier(subject: Subject, subnets: Iterable[str], more: int) -> Variant | None:
    """More free addresses in subnets that run out."""
    names = sorted(set(subnets))
    if not names:
        return None
    changed = tuple(replace(s, free_ips=s.free_ips + more) if s.id in names else s for s in subject.snapshot.subnets)
    return subject.variant(
        f"{more} more addresses in {len(names)} subnet{'s' if len(names) > 1 else ''}",
        [f"subnet {name}: free {more} addresses, or give the node groups another subnet in its zone" for name in names],
        {"freeIps": {name: f"+{more}" for name in names}},
        snapshot=replace(subject.snapshot, subnets=changed),
    )


def forced(subject: Subject) -> Variant:
    """EKS deletes what budgets still protect after the drain limit."""
    return subject.variant(
        "force: delete pods past their budgets",
        ["force_update_version = true, or --force-drain with the aws engine; breaks the budgets that block"],
        {"force": True},
        force=True,
    )
