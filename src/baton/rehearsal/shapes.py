"""Of what synthetic workloads are made: sizes, appetites and budgets with their weights, and the shapes of objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

Json = dict[str, Any]
VOLUMES_A_NODE = 24

FIRST = ("cart", "search", "pay", "ledger", "mail", "quote", "stock", "route", "media", "price", "login", "audit")
SECOND = ("api", "web", "worker", "proxy", "sync", "feed", "store", "gate")
# (weight, least, most) replicas: many small apps, a few huge ones
SIZES = ((32, 1, 2), (34, 3, 6), (20, 7, 20), (10, 21, 80), (3, 81, 300), (1, 301, 1500))
# request in percent of what an average pod may take (weights beside)
APPETITES = ((20, 20), (30, 50), (30, 100), (15, 180), (5, 300))
# a budget for an app of n replicas: (weight, spec)
BUDGETS: tuple[tuple[int, Json], ...] = (
    (40, {"maxUnavailable": 1}),
    (20, {"maxUnavailable": "25%"}),
    (12, {"minAvailable": "50%"}),
    (10, {"minAvailable": -1}),  # stands for replicas - 1
    (8, {"minAvailable": 1}),
    (10, {"maxUnavailable": "10%", "unhealthyPodEvictionPolicy": "AlwaysAllow"}),
)
BLOCKING: tuple[tuple[int, tuple[Json, ...]], ...] = (  # (replicas, its budgets)
    (3, ({"maxUnavailable": 0},)),
    (1, ({"minAvailable": 1},)),
    (4, ({"minAvailable": "100%"},)),
    (3, ({"maxUnavailable": 1}, {"minAvailable": 1})),  # two budgets: the eviction API refuses such pods
)


@dataclass(slots=True)
class Machine:
    """A node with what is left on it: millicores, MiB, pod slots, volumes."""

    name: str
    zone: int
    node: Json
    cpu: int
    memory: int
    slots: int
    volumes: int = VOLUMES_A_NODE


@dataclass
class Pool:
    """The nodes of one node group and a place to go on from when looking for room."""

    name: str
    machines: list[Machine]
    zones: int
    dedicated: str = ""
    by_zone: list[list[Machine]] = field(init=False)

    def __post_init__(self) -> None:
        self.by_zone = [[m for m in self.machines if m.zone == z] for z in range(self.zones)]


class Clerk:
    """Hands out uids, times and random choices."""

    def __init__(self, rng: Random, now: float) -> None:
        self.rng = rng
        self.now = now
        self._serial = 0

    def uid(self, kind: str) -> str:
        self._serial += 1
        return f"{kind}-{self._serial:08x}"

    def one_of(self, weighted: Sequence[tuple[int, Any]]) -> Any:
        left = self.rng.randrange(sum(w for w, *_ in weighted))
        for weight, value in weighted:
            left -= weight
            if left < 0:
                return value
        raise AssertionError("weights add up")

    def percent(self, chance: int) -> bool:
        return self.rng.randrange(100) < chance


@dataclass
class App:
    """What is decided of one app before its pods are placed."""

    name: str
    namespace: str
    replicas: int
    pool: Pool
    cpu: int
    memory: int
    spread: str = "any"  # any | hosts | zones
    volume: bool = False
    traits: Json = field(default_factory=dict)  # more of the pod spec


def allowed(spec: Json, replicas: int) -> int:
    """How many pods of a healthy app its budget lets go at once, at least 1 (both percentages round up)."""
    away = "maxUnavailable" in spec
    given = spec["maxUnavailable" if away else "minAvailable"]
    count = -(-int(given[:-1]) * replicas // 100) if isinstance(given, str) else given
    return max(1, count if away else replicas - count)


def head(version: str, kind: str, name: str, namespace: str = "") -> Json:
    meta: Json = {"name": name}
    if namespace:
        meta["namespace"] = namespace
    return {"apiVersion": version, "kind": kind, "metadata": meta}


def owner(version: str, kind: str, meta: Json) -> Json:
    return {
        "apiVersion": version,
        "kind": kind,
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def counts(replicas: int) -> Json:
    return {
        "observedGeneration": 1,
        "replicas": replicas,
        "readyReplicas": replicas,
        "availableReplicas": replicas,
        "updatedReplicas": replicas,
    }


def container(name: str, image: str, cpu: int, memory: int) -> Json:
    return {"name": name, "image": image, "resources": {"requests": {"cpu": f"{cpu}m", "memory": f"{memory}Mi"}}}


def spread(key: str, action: str, selector: Json) -> Json:
    return {"maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": action, "labelSelector": selector}


def requests(spec: Json) -> tuple[int, int]:
    """(millicores, MiB) that add-on containers ask for; they write both plainly."""
    cpu = memory = 0
    for container in spec["containers"]:
        asked = container["resources"]["requests"]
        cpu += int(asked.get("cpu", "0m")[:-1])
        memory += int(asked.get("memory", "0Mi")[:-2])
    return cpu, memory


ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


def letters(number: int) -> str:
    """A name's ending as Kubernetes makes them: five letters or more, a different one for every number."""
    letters: list[str] = []
    number = number * 7919 + 104_729  # so that neighbours do not look alike
    while number or len(letters) < 5:
        number, digit = divmod(number, len(ALPHABET))
        letters.append(ALPHABET[digit])
    return "".join(letters)
