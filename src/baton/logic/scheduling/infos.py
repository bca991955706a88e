"""What the scheduler keeps of one pod and of one node, and who is told of changes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from baton.logic.scheduling.matching import Json
from baton.logic.scheduling.podclass import PodClass, request_row
from baton.logic.scheduling.requests import PodRequest, Resources

Key = tuple[str, str]


class Rendered(Protocol):
    """A pod kept in another form, whose object is made when it is asked for; the rest costs nothing to ask."""

    @property
    def obj(self) -> Any: ...

    @property
    def labels(self) -> Any: ...

    @property
    def key(self) -> Any: ...

    @property
    def spec(self) -> Any: ...

    @property
    def start_time(self) -> str: ...


class PodInfo:
    """A pod on a node."""

    __slots__ = ("_pod", "claims", "cls", "pin", "rank", "request", "row", "slot", "terminating", "volumes")

    def __init__(
        self,
        pod: Json | Rendered,
        cls: PodClass,
        pin: str | None,
        request: PodRequest,
        claims: tuple[str, ...],
        terminating: bool,
    ) -> None:
        self._pod = pod
        self.cls = cls
        self.pin = pin
        """The node that a DaemonSet's pod is made for."""
        self.request = request
        self.row: NDArray[np.int64] = cls.row if request is cls.request else request_row(request)
        self.claims = claims
        self.slot = -1
        self.terminating = terminating
        self.volumes: tuple[tuple[str, str], ...] = ()
        """(driver, handle) of the volumes counted against the node's attach limit."""
        self.rank: tuple[int, str, Key] | None = None
        """What preemption sorts by, once the pod has started."""

    @property
    def pod(self) -> Json:
        """The object."""
        pod = self._pod
        if isinstance(pod, dict):
            return pod
        made: Json = pod.obj  # type: ignore[union-attr]
        return made

    @property
    def key(self) -> Key:
        pod = self._pod
        if not isinstance(pod, dict):
            key: Key = pod.key  # type: ignore[union-attr]
            return key
        metadata = pod["metadata"]
        return metadata.get("namespace") or "default", metadata["name"]

    @property
    def labels(self) -> Mapping[str, str]:
        """All labels, also those that the class leaves out."""
        pod = self._pod
        found = (pod["metadata"].get("labels") or {}) if isinstance(pod, dict) else pod.labels  # type: ignore[union-attr]
        labels: Mapping[str, str] = found
        return labels

    @property
    def spec(self) -> Json:
        """The object's spec."""
        pod = self._pod
        spec: Json = pod["spec"] if isinstance(pod, dict) else pod.spec  # type: ignore[union-attr]
        return spec

    @property
    def volumes_asked(self) -> Sequence[Json]:
        """spec.volumes."""
        volumes: Sequence[Json] = self.spec.get("volumes") or ()
        return volumes

    @property
    def start_time(self) -> str:
        """status.startTime as written, "" before it started."""
        pod = self._pod
        if isinstance(pod, dict):
            return str((pod.get("status") or {}).get("startTime") or "")
        return pod.start_time  # type: ignore[union-attr]

    @property
    def node_names(self) -> frozenset[str] | None:
        """The only nodes that are looked at, where required affinity names them."""
        return self.cls.node_names if self.pin is None else frozenset((self.pin,))


class NodeInfo(NamedTuple):
    """What does not change while a node stays as it is."""

    slot: int
    name: str
    labels: Mapping[str, str]
    taints: tuple[Json, ...]
    unschedulable: bool
    allocatable: Resources
    images: tuple[str, ...]
    kind: int
    """The same for nodes with the same taints and cordon."""
    source: tuple[Any, ...]
    """Parts of the Node object these facts came from, by identity, so that heartbeats cost nothing."""


class Elsewhere(Protocol):
    """Pods on nodes that are kept in another form; what the state holds besides is handed in to be merged."""

    def pods_on(self, slot: int, others: dict[Key, PodInfo]) -> dict[Key, PodInfo]: ...

    def classes_dropped(self) -> None: ...

    def plan_dropped(self, cls: PodClass) -> None: ...

    def figure_added(self, cls: PodClass, row: int, live: bool) -> None: ...

    def rows_counted(self, rows: Iterable[int]) -> None: ...


class Listener(Protocol):
    """Something that keeps figures per slot: told after a pod came, before one is marked as being deleted, before one
    goes, when a node or object changed."""

    def pod_added(self, info: PodInfo, key: Key) -> None: ...

    def pods_parted(self, keys: Collection[Key], infos: Sequence[PodInfo]) -> None: ...

    def pod_removed(self, info: PodInfo, key: Key) -> None: ...

    def pod_leaving(self, info: PodInfo) -> None: ...

    def node_changed(self, slot: int) -> None: ...

    def object_changed(self, resource: str, namespace: str, name: str) -> None: ...


def claim_names(pod: Json) -> tuple[str, ...]:
    """Names of the pod's PersistentVolumeClaims; ephemeral volumes' claims are named after the pod."""
    names = []
    for volume in pod["spec"].get("volumes") or ():
        claim = volume.get("persistentVolumeClaim")
        if claim is not None:
            names.append(claim.get("claimName", ""))
        elif volume.get("ephemeral") is not None:
            names.append(f"{pod['metadata']['name']}-{volume.get('name', '')}")
    return tuple(names)


def has_ended(pod: Json) -> bool:
    """Whether the pod has finished and holds nothing any more."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
