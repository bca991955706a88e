"""Filters that look at one node and the pods on it: schedulable, taints, affinity, ports, resources.

Each plugin of a cycle has `prefilter`, which may turn the pod down or find that the plugin has nothing to say, `filter`
for one node, and `moved`, told when preemption tries taking a pod off a node or putting it back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple, Protocol

from baton.logic.scheduling import matching
from baton.logic.scheduling.infos import Key, NodeInfo, PodInfo
from baton.logic.scheduling.podclass import AffinityTerm, PodClass
from baton.logic.scheduling.requests import Resources
from baton.logic.scheduling.state import CPU, EPHEMERAL, MEMORY, PODS, ClusterState

UNSCHEDULABLE = "node(s) were unschedulable"
WRONG_NAME = "node(s) didn't match the requested node name"
AFFINITY = "node(s) didn't match Pod's node affinity/selector"
AFFINITY_CONFLICT = "pod affinity terms conflict"
NO_PORTS = "node(s) didn't have free ports for the requested pod ports"
TOO_MANY_PODS = "Too many pods"

HostPort = tuple[str, str, int]
"""(address, protocol, port)"""


class Status(NamedTuple):
    """Why a plugin rejected a node, or the pod as a whole. `unresolvable`: removing pods there cannot help."""

    plugin: str
    reasons: tuple[str, ...]
    unresolvable: bool


class View:
    """A node and what is on it, which a cycle may change to try something out."""

    __slots__ = ("_moved", "_pods", "_ports", "_scalars", "_state", "_used", "info")

    def __init__(self, state: ClusterState, info: NodeInfo) -> None:
        self.info = info
        self._state = state
        self._pods: dict[Key, PodInfo] | None = None
        self._moved: list[tuple[PodInfo, int]] = []  # since `pods` was read
        self._ports: set[HostPort] | None = None
        self._used: list[int] | None = None
        self._scalars: dict[str, int] | None = None

    def copy(self) -> View:
        """The same, to be changed apart."""
        made = View(self._state, self.info)
        made._pods, made._moved, made._ports = self._pods, list(self._moved), self._ports
        made._used = None if self._used is None else list(self._used)
        made._scalars = None if self._scalars is None else dict(self._scalars)
        return made

    @property
    def pods(self) -> dict[Key, PodInfo]:
        """The pods there; read when first needed."""
        if self._pods is None:
            self._pods = self._state.pods_on(self.info.slot)
        if self._moved:
            self._pods = dict(self._pods)
            for pod, sign in self._moved:
                if sign > 0:
                    self._pods[pod.key] = pod
                else:
                    del self._pods[pod.key]
            self._moved = []
        return self._pods

    @property
    def used(self) -> list[int]:
        """What its pods ask for, as a row of ClusterState.used, read when first needed. What only scores look at stays
        as it was when pods are moved."""
        if self._used is None:
            self._used = self._state.used[self.info.slot].tolist()
        return self._used

    @property
    def scalars(self) -> dict[str, int]:
        """The same of extended resources."""
        if self._scalars is None:
            self._scalars = {name: int(values[self.info.slot]) for name, values in self._state.scalar_used.items()}
        return self._scalars

    @property
    def ports(self) -> set[HostPort]:
        """Host ports that its pods hold."""
        if self._ports is None:
            self._ports = {port for pod in self.pods.values() for port in pod.cls.ports}
        return self._ports

    def move(self, pod: PodInfo, sign: int) -> None:
        """Put a pod on (+1) or take it off (-1), as a trial.

        A pod that leaves frees its host ports even where another holds the same: upstream's HostPortInfo is a set.
        """
        if pod.cls.ports:
            self._ports = self.ports.union(pod.cls.ports) if sign > 0 else self.ports.difference(pod.cls.ports)
        asked, used = pod.request.resources, self.used
        used[CPU] += sign * asked.cpu
        used[MEMORY] += sign * asked.memory
        used[EPHEMERAL] += sign * asked.ephemeral
        used[PODS] += sign
        for name, value in asked.scalars.items():
            self.scalars[name] = self.scalars.get(name, 0) + sign * value
        self._moved.append((pod, sign))

    def take_off(self, pods: Sequence[PodInfo]) -> None:
        """The same as move(pod, -1) for each of them."""
        used = self.used
        cpu, memory, ephemeral = used[CPU], used[MEMORY], used[EPHEMERAL]
        for pod in pods:
            asked = pod.request.resources
            cpu -= asked.cpu
            memory -= asked.memory
            ephemeral -= asked.ephemeral
            for name, value in asked.scalars.items():
                self.scalars[name] = self.scalars.get(name, 0) - value
            if pod.cls.ports:
                self._ports = self.ports.difference(pod.cls.ports)
            self._moved.append((pod, -1))
        used[CPU], used[MEMORY], used[EPHEMERAL] = cpu, memory, ephemeral
        used[PODS] -= len(pods)


class Figures(Protocol):
    """What is counted already of the pods on nodes, for plugins that would else go through them one by one."""

    def spread(self, cls: PodClass) -> list[dict[str, int]]:
        """Of each hard constraint of the class, value of its topology key -> pods that count there."""

    def selected(self, terms: tuple[AffinityTerm, ...]) -> Iterable[tuple[int, int]]:
        """(slot, pods there that every one of these resolved terms selects) where there are any."""

    def carried(self, cls: PodClass) -> Iterable[tuple[str, Iterable[tuple[int, int]]]]:
        """Topology key, and (slot, pods there), of each required anti-affinity term of pods that selects the class."""


class Plugin:
    """One filter plugin in one scheduling cycle."""

    name = ""
    watches = False
    """Whether what it says of a node depends on the pods there."""
    figures: Figures | None = None

    def __init__(self, state: ClusterState, pod: PodInfo) -> None:
        self.state = state
        self.pod = pod
        self.cls: PodClass = pod.cls
        self.skip = False

    def prefilter(self) -> Status | None:
        """Turn the pod down, or prepare; sets `skip` when no node can be rejected."""
        return None

    def filter(self, view: View) -> Status | None:
        """Why the node is rejected, or None."""
        return None

    def moved(self, view: View, pod: PodInfo, sign: int) -> None:
        """A pod was taken off (-1) or put back on (+1) the node, as a trial."""

    def reject(self, *reasons: str, unresolvable: bool = False) -> Status:
        return Status(self.name, reasons, unresolvable)


class NodeUnschedulable(Plugin):
    name = "NodeUnschedulable"

    def filter(self, view: View) -> Status | None:
        if view.info.unschedulable and not tolerates_cordon(self.cls):
            return self.reject(UNSCHEDULABLE, unresolvable=True)
        return None


def tolerates_cordon(cls: PodClass) -> bool:
    """Whether the pod may go to a cordoned node."""
    return matching.tolerated(cls.tolerations, matching.UNSCHEDULABLE_TAINT, "", "NoSchedule")


class NodeName(Plugin):
    name = "NodeName"

    def prefilter(self) -> Status | None:
        self.wanted = self.pod.spec.get("nodeName")
        self.skip = not self.wanted
        return None

    def filter(self, view: View) -> Status | None:
        if self.wanted != view.info.name:
            return self.reject(WRONG_NAME, unresolvable=True)
        return None


class TaintToleration(Plugin):
    name = "TaintToleration"

    def filter(self, view: View) -> Status | None:
        taint = matching.first_untolerated(view.info.taints, self.cls.tolerations)
        return None if taint is None else self.reject(taint_reason(taint), unresolvable=True)


def taint_reason(taint: matching.Json) -> str:
    """Upstream's words for an untolerated taint."""
    return f"node(s) had untolerated taint {{{taint.get('key', '')}: {taint.get('value') or ''}}}"


class NodeAffinity(Plugin):
    name = "NodeAffinity"

    def prefilter(self) -> Status | None:
        self.skip = self.cls.node_terms is None and not self.cls.node_selector
        if self.cls.node_names is not None and not self.cls.node_names:
            return self.reject(AFFINITY_CONFLICT, unresolvable=True)
        return None

    def filter(self, view: View) -> Status | None:
        if self.cls.node_matches(view.info.labels, view.info.name):
            return None
        return self.reject(AFFINITY, unresolvable=True)


def ports_conflict(wanted: Iterable[HostPort], used: Collection[HostPort]) -> bool:
    """Whether any (ip, protocol, port) is taken; 0.0.0.0 clashes with every address."""
    for ip, protocol, port in wanted:
        for other_ip, other_protocol, other_port in used:
            same = port == other_port and protocol == other_protocol
            if same and (ip == other_ip or "0.0.0.0" in (ip, other_ip)):
                return True
    return False


class NodePorts(Plugin):
    name = "NodePorts"
    watches = True

    def prefilter(self) -> Status | None:
        self.skip = not self.cls.ports
        return None

    def filter(self, view: View) -> Status | None:
        return self.reject(NO_PORTS) if ports_conflict(self.cls.ports, view.ports) else None


class NodeResourcesFit(Plugin):
    name = "NodeResourcesFit"
    watches = True

    def filter(self, view: View) -> Status | None:
        asked, have, used = self.cls.fit, view.info.allocatable, view.used
        if (
            used[PODS] < have.pods
            and 0 <= asked.cpu <= have.cpu - used[CPU]
            and 0 <= asked.memory <= have.memory - used[MEMORY]
            and 0 <= asked.ephemeral <= have.ephemeral - used[EPHEMERAL]
            and not asked.scalars
        ):
            return None  # by far the most frequent question of preemption
        reasons, unresolvable = insufficient(asked, have, used, view.scalars)
        return Status(self.name, tuple(reasons), unresolvable) if reasons else None


def insufficient(
    wanted: Resources, allocatable: Resources, used: Sequence[int], scalars: dict[str, int]
) -> tuple[list[str], bool]:
    """Reasons, and whether some resource is larger than the whole node."""
    reasons = []
    unresolvable = False
    if used[PODS] + 1 > allocatable.pods:
        reasons.append(TOO_MANY_PODS)
    plain = (
        ("cpu", wanted.cpu, allocatable.cpu, used[CPU]),
        ("memory", wanted.memory, allocatable.memory, used[MEMORY]),
        ("ephemeral-storage", wanted.ephemeral, allocatable.ephemeral, used[EPHEMERAL]),
    )
    for name, ask, have, taken in plain:
        if ask > 0 and ask > have - taken:
            reasons.append(f"Insufficient {name}")
            unresolvable = unresolvable or ask > have
    for name, ask in sorted(wanted.scalars.items()):
        have = allocatable.scalars.get(name, 0)
        if ask > 0 and ask > have - scalars.get(name, 0):
            reasons.append(f"Insufficient {name}")
            unresolvable = unresolvable or ask > have
    return reasons, unresolvable
