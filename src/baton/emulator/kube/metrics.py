"""metrics.k8s.io: usage that is made up, deterministically and openly.

A running pod uses 60 % of the CPU and 75 % of the memory it requests (defaults 20m and 40Mi without requests); a node
uses what its pods use, and 80m and 500Mi of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from baton.logic.quantity import parse_bytes, parse_cpu_millis
from baton.twin.timefmt import rfc3339
from baton.twin.world import World

Json = dict[str, Any]


def _usage(container: Mapping[str, Any]) -> tuple[int, int]:
    """(millicores, Ki)."""
    requests = (container.get("resources") or {}).get("requests") or {}
    cpu = parse_cpu_millis(requests["cpu"]) * 60 // 100 if "cpu" in requests else 20
    memory = parse_bytes(requests["memory"]) * 75 // 100 // 1024 if "memory" in requests else 40 * 1024
    return cpu, memory


def _sum(pod: Mapping[str, Any]) -> tuple[int, int]:
    pairs = [_usage(c) for c in pod["spec"].get("containers") or ()]
    return sum(p[0] for p in pairs), sum(p[1] for p in pairs)


def pod_metrics(world: World, now: float, namespace: str | None = None) -> list[Json]:
    out = []
    for pod in world.items("pods", namespace):
        if (pod.get("status") or {}).get("phase") != "Running":
            continue
        containers = []
        for container in pod["spec"].get("containers") or ():
            cpu, memory = _usage(container)
            containers.append({"name": container["name"], "usage": {"cpu": f"{cpu}m", "memory": f"{memory}Ki"}})
        meta = pod["metadata"]
        out.append(
            {
                "kind": "PodMetrics",
                "apiVersion": "metrics.k8s.io/v1beta1",
                "metadata": {
                    "name": meta["name"],
                    "namespace": meta["namespace"],
                    "labels": meta.get("labels") or {},
                    "creationTimestamp": rfc3339(now),
                },
                "timestamp": rfc3339(now),
                "window": "15s",
                "containers": containers,
            }
        )
    return out


def node_metrics(world: World, now: float) -> list[Json]:
    out = []
    for node in world.items("nodes"):
        name = node["metadata"]["name"]
        cpu, memory = 80, 500 * 1024
        for pod in world.pods_on(name):
            if (pod.get("status") or {}).get("phase") == "Running":
                c, m = _sum(pod)
                cpu, memory = cpu + c, memory + m
        out.append(
            {
                "kind": "NodeMetrics",
                "apiVersion": "metrics.k8s.io/v1beta1",
                "metadata": {"name": name, "creationTimestamp": rfc3339(now)},
                "timestamp": rfc3339(now),
                "window": "20s",
                "usage": {"cpu": f"{cpu}m", "memory": f"{memory}Ki"},
            }
        )
    return out
