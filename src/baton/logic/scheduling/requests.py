"""What a pod asks of a node: requests added up over containers, init containers, sidecars, pod level and overhead.

Sums are kept in nano units (see baton.logic.quantity) and rounded up once, at the end, as the scheduler does.
"""

from __future__ import annotations

import marshal
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from baton.errors import ReadError
from baton.logic.quantity import NANO, parse_nanos, round_up
from baton.logic.scheduling.matching import Json

MILLI = NANO // 1000
LARGEST = 2**53
DEFAULT_CPU = 100 * MILLI
DEFAULT_MEMORY = 200 * 1024 * 1024 * NANO
DEFAULTS = {"cpu": DEFAULT_CPU, "memory": DEFAULT_MEMORY}


class Resources(NamedTuple):
    """CPU in thousandths, memory and ephemeral storage in bytes, pods, and scalar resources by name."""

    cpu: int
    memory: int
    ephemeral: int
    pods: int
    scalars: dict[str, int]


class PodRequest(NamedTuple):
    """What a pod takes from its node, and the same with defaults for containers that ask nothing (for scoring)."""

    resources: Resources
    nonzero_cpu: int
    nonzero_memory: int


def is_scalar(name: str) -> bool:
    """Extended resources, huge pages, prefixed native resources and attachable volume limits."""
    if name.startswith(("hugepages-", "attachable-volumes-")) or "kubernetes.io/" in name:
        return True
    return "/" in name and not name.startswith("requests.")


def parse_list(values: Mapping[str, Any] | None) -> dict[str, int]:
    """A ResourceList in nano units."""
    return {name: parse_nanos(value) for name, value in values.items()} if values else {}


def to_resources(nanos: Mapping[str, int]) -> Resources:
    """Round a sum to the units the scheduler compares; names it does not know are left out.

    Raises ReadError for more than `LARGEST` of anything: sums over nodes and pods would not be exact any more.
    """
    for name, value in nanos.items():
        if value > LARGEST * NANO or (name == "cpu" and value > LARGEST * MILLI):
            raise ReadError(f"{name} of {value // NANO}: more than can be counted", hint="is the unit meant?")
    scalars = {name: round_up(value, NANO) for name, value in nanos.items() if is_scalar(name)}
    return Resources(
        round_up(nanos.get("cpu", 0), MILLI),
        round_up(nanos.get("memory", 0), NANO),
        round_up(nanos.get("ephemeral-storage", 0), NANO),
        round_up(nanos.get("pods", 0), NANO),
        scalars,
    )


def _add(total: dict[str, int], more: Mapping[str, int]) -> None:
    for name, value in more.items():
        total[name] = total.get(name, 0) + value


def _largest(*lists: Mapping[str, int]) -> dict[str, int]:
    result: dict[str, int] = {}
    for values in lists:
        for name, value in values.items():
            if name not in result or value > result[name]:
                result[name] = value
    return result


def _resize_infeasible(status: Json) -> bool:
    return any(
        c.get("type") == "PodResizePending" and c.get("reason") == "Infeasible" for c in status.get("conditions") or ()
    )


def _container(container: Json, statuses: Mapping[str, Json], infeasible: bool) -> dict[str, int]:
    """One container's requests; a status that reports resources (in-place resize) may raise them."""
    asked = parse_list((container.get("resources") or {}).get("requests"))
    status = statuses.get(container.get("name", ""))
    if status is None or status.get("resources") is None:
        return asked
    actual = parse_list(status["resources"].get("requests"))
    allocated = parse_list(status.get("allocatedResources"))
    return _largest(actual, allocated) if infeasible else _largest(asked, actual, allocated)


def _with_defaults(values: dict[str, int], defaults: Mapping[str, int]) -> dict[str, int]:
    missing = {name: value for name, value in defaults.items() if name not in values}
    return {**values, **missing} if missing else values


def is_sidecar(container: Json) -> bool:
    """An init container that keeps running beside the pod's containers."""
    return container.get("restartPolicy") == "Always"


def sum_requests(
    spec: Json, status: Json | None = None, defaults: Mapping[str, int] | None = None, *, pod_level_too: bool = True
) -> dict[str, int]:
    """A pod's requests in nano units.

    `status` is given for pods that run (in-place resize counts), `defaults` replace requests that containers lack.
    Init containers run one after the other, each beside the sidecars started before it: the largest such step counts
    when it exceeds the sum of the containers and sidecars. Pod-level requests replace cpu, memory and huge pages.
    """
    defaults = defaults or {}
    statuses: dict[str, Json] = {}
    infeasible = False
    if status is not None:
        for kind in ("containerStatuses", "initContainerStatuses"):
            statuses.update({s.get("name", ""): s for s in status.get(kind) or ()})
        infeasible = _resize_infeasible(status)
    total: dict[str, int] = {}
    for container in spec.get("containers") or ():
        _add(total, _with_defaults(_container(container, statuses, infeasible), defaults))
    sidecars: dict[str, int] = {}
    largest: dict[str, int] = {}
    for container in spec.get("initContainers") or ():
        if is_sidecar(container):
            asked = _with_defaults(_container(container, statuses, infeasible), defaults)
            _add(total, asked)
            _add(sidecars, asked)
            step = sidecars
        else:
            step = dict(_with_defaults(_container(container, {}, infeasible), defaults))
            _add(step, sidecars)
        largest = _largest(largest, step)
    total = _largest(total, largest)
    for name, value in pod_level(spec).items() if pod_level_too else ():
        total[name] = value
    if spec.get("overhead"):
        _add(total, parse_list(spec["overhead"]))
    return total


def pod_level(spec: Json) -> dict[str, int]:
    """Pod-level requests (spec.resources) of the kinds that may be set there."""
    values = (spec.get("resources") or {}).get("requests") or {}
    return {k: parse_nanos(v) for k, v in values.items() if k in ("cpu", "memory") or k.startswith("hugepages-")}


def pod_request(spec: Json, status: Json | None = None) -> PodRequest:
    """What a pod on a node takes; `status` may report a resize under way."""
    if status is None and not (spec.get("initContainers") or spec.get("resources") or spec.get("overhead")):
        return _plain_request(marshal.dumps([c.get("resources") for c in spec.get("containers") or ()], 2))
    return _request(spec, status)


@lru_cache(maxsize=65536)
def _plain_request(text: bytes) -> PodRequest:
    """The same of containers alone, from their marshalled resources: many templates ask for the same."""
    return _request({"containers": [{"resources": each} for each in marshal.loads(text)]}, None)


def _request(spec: Json, status: Json | None) -> PodRequest:
    plain = sum_requests(spec, status)
    defaults: Mapping[str, int] = DEFAULTS
    if pod_level(spec):
        defaults = {name: value for name, value in DEFAULTS.items() if name not in plain}
    full = sum_requests(spec, status, defaults) if defaults and not _ask_all(spec, status) else plain
    return PodRequest(to_resources(plain), round_up(full.get("cpu", 0), MILLI), round_up(full.get("memory", 0), NANO))


def _ask_all(spec: Json, status: Json | None) -> bool:
    """Whether no container lacks a request that has a default."""
    if status is not None:
        return False
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    return all(DEFAULTS.keys() <= ((c.get("resources") or {}).get("requests") or {}).keys() for c in containers)


def scoring_request(spec: Json) -> tuple[int, int]:
    """(cpu, memory) of a pod that waits, for least-allocated.

    Containers that ask nothing count with defaults. Pod-level requests are not looked at: 1.34 hands that setting to
    the filter only.
    """
    full = sum_requests(spec, None, DEFAULTS, pod_level_too=False)
    return round_up(full.get("cpu", 0), MILLI), round_up(full.get("memory", 0), NANO)


def reports_resources(status: Json | None) -> bool:
    """Whether a running pod's status may change what it counts for."""
    if not status:
        return False
    for kind in ("containerStatuses", "initContainerStatuses"):
        for container in status.get(kind) or ():
            if container.get("resources") is not None:
                return True
    return False
