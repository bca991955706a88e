"""A stand-in for the scheduler behind the loop's interface: first node with room that is open and tolerated."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import Any

Obj = dict[str, Any]


@dataclass
class FirstFitDecision:
    node: str | None
    counts: Counter[str]


def _cpu(text: Any) -> int:
    text = str(text)
    return int(text[:-1]) if text.endswith("m") else int(float(text) * 1000)


def _mem(text: Any) -> int:
    text = str(text)
    for suffix, factor in (("Ki", 1 << 10), ("Mi", 1 << 20), ("Gi", 1 << 30)):
        if text.endswith(suffix):
            return int(float(text[:-2]) * factor)
    return int(float(text))


class FirstFit:
    resources = ("services",)

    def __init__(self) -> None:
        self.nodes: dict[str, Obj] = {}
        self.used: dict[str, list[int]] = {}

    def start(self, world: Any) -> None:
        for n in world.items("nodes"):
            self.set_node(n)

    def set_node(self, node: Obj) -> None:
        self.nodes[node["metadata"]["name"]] = node
        self.used.setdefault(node["metadata"]["name"], [0, 0, 0])

    def remove_node(self, node: Obj) -> None:
        self.nodes.pop(node["metadata"]["name"], None)

    def set_object(self, type_: str, resource: str, obj: Obj) -> None:
        pass

    def _ask(self, pod: Obj) -> tuple[int, int]:
        cpu = mem = 0
        for c in pod["spec"].get("containers") or ():
            r = (c.get("resources") or {}).get("requests") or {}
            cpu += _cpu(r.get("cpu", 0))
            mem += _mem(r.get("memory", 0))
        return cpu, mem

    def add_pod(self, pod: Obj) -> None:
        cpu, mem = self._ask(pod)
        u = self.used.setdefault(pod["spec"]["nodeName"], [0, 0, 0])
        u[0] += cpu
        u[1] += mem
        u[2] += 1

    def remove_pod(self, pod: Obj) -> None:
        cpu, mem = self._ask(pod)
        u = self.used.setdefault(pod["spec"]["nodeName"], [0, 0, 0])
        u[0] -= cpu
        u[1] -= mem
        u[2] -= 1

    def schedule(self, pod: Obj, rng: Random) -> FirstFitDecision:
        from baton.twin.controllers.nodes import tolerates

        cpu, mem = self._ask(pod)
        tol = pod["spec"].get("tolerations") or ()
        counts: Counter[str] = Counter()
        want = None
        for t in (
            ((pod["spec"].get("affinity") or {}).get("nodeAffinity") or {})
            .get("requiredDuringSchedulingIgnoredDuringExecution", {})
            .get("nodeSelectorTerms", ())
        ):
            for m in t.get("matchFields") or ():
                want = m["values"][0]
        best = None
        for name, node in self.nodes.items():
            if want is not None and name != want:
                counts["node(s) didn't satisfy plugin(s) [NodeAffinity]"] += 1
                continue
            taints = [t for t in node["spec"].get("taints") or () if t["effect"] in ("NoSchedule", "NoExecute")]
            bad = next((t for t in taints if not any(tolerates(x, t) for x in tol)), None)
            if bad is not None:
                if bad["key"] == "node.kubernetes.io/unschedulable":
                    counts["node(s) were unschedulable"] += 1
                else:
                    key, value = bad["key"], bad.get("value", "")
                    counts[f"node(s) had untolerated taint {{{key}: {value}}}"] += 1
                continue
            u, a = self.used[name], node["status"]["allocatable"]
            if u[0] + cpu > _cpu(a.get("cpu", 4)):
                counts["Insufficient cpu"] += 1
            elif u[1] + mem > _mem(a.get("memory", "16Gi")):
                counts["Insufficient memory"] += 1
            elif u[2] + 1 > int(a.get("pods", 110)):
                counts["Too many pods"] += 1
            elif best is None or u[0] < self.used[best][0]:
                best = name
        return FirstFitDecision(best, counts)

    def histogram(self, decision: FirstFitDecision) -> Counter[str]:
        return decision.counts

    def preempt(self, pod: Obj, rng: Random) -> tuple[None, str]:
        return None, ""
