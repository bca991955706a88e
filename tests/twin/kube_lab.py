"""A small cluster to try things on: helpers shared by the tests of the twin's Kubernetes side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import Any

from baton.twin.clock import VirtualClock
from baton.twin.kube import KubeTwin, NodeSpec
from baton.twin.timings import Spread, Timings, TwinSettings
from baton.twin.world import World

Obj = dict[str, Any]
START = 1_790_000_000.0


def exactly(seconds: float) -> Spread:
    return Spread(seconds, seconds, seconds, "test")


STEADY = replace(
    Timings(),
    node_ready_gap=exactly(10),
    pod_start=exactly(3),
    readiness_phase=exactly(0),
    pod_stop=exactly(2),
    init_container=exactly(1),
    volume_attach=exactly(4),
    job_run=exactly(20),
)


class Lab:
    """A KubeTwin with steady timings, and a log of what happened as (seconds, text)."""

    def __init__(self, settings: TwinSettings | None = None, seed: int = 1, nodes: int = 0) -> None:
        self.clock = VirtualClock(START)
        self.world = World(self.clock, Random(seed))
        self.kube = KubeTwin(self.clock, self.world, settings or TwinSettings(timings=STEADY), Random(seed + 1))
        self.log: list[tuple[float, str]] = []
        self.kube.start()
        for index in range(nodes):
            self.node(index)
        if nodes:
            self.wait(15)

    def wait(self, seconds: float) -> None:
        self.clock.run_until(self.clock.now() + seconds)

    @property
    def seconds(self) -> float:
        return round(self.clock.now() - START, 3)

    def node(self, index: int, zone: str = "", **fields: Any) -> str:
        name = f"node-{index}"
        fields.setdefault("allocatable", {"cpu": "4", "memory": "16Gi", "pods": "58"})
        spec = NodeSpec(
            name,
            f"i-{index:017x}",
            zone or "us-east-1" + "abc"[index % 3],
            "us-east-1",
            "m6i.xlarge",
            "ami-1",
            "v1.34.2-eks-1",
            internal_ip=f"10.0.0.{index + 1}",
            **fields,
        )
        self.kube.boot_node(spec)
        return name

    def watch(self, *resources: str) -> None:
        """Log changes of these resources from now on: who, what."""

        def see(type_: str, resource: str, obj: Obj, old: Obj | None) -> None:
            self.log.append((self.seconds, f"{type_} {resource.partition('.')[0]} {obj['metadata']['name']}"))

        self.world.subscribe(see, resources)

    def pods(self, app: str = "", namespace: str = "default") -> list[Obj]:
        found = self.world.items("pods", namespace)
        return [p for p in found if not app or p["metadata"]["labels"].get("app") == app]

    def names(self, app: str = "") -> list[str]:
        return sorted(p["metadata"]["name"] for p in self.pods(app))

    def ready(self, app: str) -> int:
        return sum(
            any(c["type"] == "Ready" and c["status"] == "True" for c in p["status"].get("conditions") or ())
            and not p["metadata"].get("deletionTimestamp")
            for p in self.pods(app)
        )

    def get(self, resource: str, name: str, namespace: str = "default") -> Obj:
        found = self.world.get(resource, namespace, name)
        assert found is not None, f"{resource} {name} is not there"
        return found

    def change(self, resource: str, name: str, spec: Mapping[str, Any]) -> None:
        obj = self.get(resource, name)
        self.world.update(resource, {**obj, "spec": {**obj["spec"], **spec}})

    # --- what people create

    def template(
        self, app: str, *, cpu: str = "100m", delay: int | None = None, version: str = "1", **spec: Any
    ) -> Obj:
        container: Obj = {"name": "main", "image": f"{app}:{version}", "resources": {"requests": {"cpu": cpu}}}
        if delay is not None:
            container["readinessProbe"] = {"initialDelaySeconds": delay, "periodSeconds": 10}
        return {"metadata": {"labels": {"app": app}}, "spec": {"containers": [container], **spec}}

    def _create(self, resource: str, version: str, kind: str, name: str, spec: Obj) -> Obj:
        meta = {"name": name, "namespace": "default"}
        return self.world.create(resource, {"apiVersion": version, "kind": kind, "metadata": meta, "spec": spec})

    def deployment(self, name: str, replicas: int, template: Obj | None = None, **spec: Any) -> Obj:
        body = {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": template or self.template(name),
            **spec,
        }
        return self._create("deployments.apps", "apps/v1", "Deployment", name, body)

    def statefulset(self, name: str, replicas: int, template: Obj | None = None, **spec: Any) -> Obj:
        body = {
            "replicas": replicas,
            "serviceName": name,
            "selector": {"matchLabels": {"app": name}},
            "template": template or self.template(name),
            **spec,
        }
        return self._create("statefulsets.apps", "apps/v1", "StatefulSet", name, body)

    def daemonset(self, name: str, template: Obj | None = None, **spec: Any) -> Obj:
        body = {"selector": {"matchLabels": {"app": name}}, "template": template or self.template(name), **spec}
        return self._create("daemonsets.apps", "apps/v1", "DaemonSet", name, body)

    def job(self, name: str, template: Obj | None = None, **spec: Any) -> Obj:
        body = {"template": template or self.template(name, restartPolicy="Never"), **spec}
        return self._create("jobs.batch", "batch/v1", "Job", name, body)

    def budget(self, name: str, **spec: Any) -> Obj:
        spec.setdefault("selector", {"matchLabels": {"app": name}})
        return self._create("poddisruptionbudgets.policy", "policy/v1", "PodDisruptionBudget", name, spec)

    def bare(self, name: str, **spec: Any) -> Obj:
        body = {"containers": [{"name": "main", "image": "x:1"}], "terminationGracePeriodSeconds": 30, **spec}
        return self.world.create(
            "pods",
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": "default", "labels": {"app": name}},
                "spec": body,
                "status": {"phase": "Pending"},
            },
        )
