"""Disruption budgets, evictions and drains as Kubernetes decides them: pure functions over API objects.

Behaviour read from pkg/controller/disruption, pkg/registry/core/pod/storage/eviction.go (1.34) and
kubectl/pkg/drain/filters.go. Objects are plain JSON mappings and are never changed here. Times are seconds since the
epoch in cluster time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from baton.errors import ReadError

KubeObject = Mapping[str, Any]

DISRUPTED_POD_TIMEOUT = 120.0  # DeletionTimeout: how long an approved eviction may wait for its delete
MAX_DISRUPTED_PODS = 2000  # MaxDisruptedPodSize
PROCESSING_RETRY_AFTER = 10  # seconds, sent when the budget's status is stale
MIRROR_ANNOTATION = "kubernetes.io/config.mirror"

VIOLATION = "Cannot evict pod as it would violate the pod's disruption budget."
SEVERAL_BUDGETS = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
NAME_MISMATCH = "name in URL does not match name in Eviction object"


# --- label selectors -------------------------------------------------------------------------------------------------


def selector_matches(selector: KubeObject | None, labels: Mapping[str, str]) -> bool:
    """Whether a policy/v1 label selector picks `labels`: None picks nothing, {} everything.

    A selector with an unknown operator picks nothing, as in the eviction API.
    """
    if selector is None:
        return False
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    return all(_expression_matches(e, labels) for e in selector.get("matchExpressions") or ())


def _expression_matches(expression: KubeObject, labels: Mapping[str, str]) -> bool:
    key, operator, values = expression.get("key", ""), expression.get("operator"), expression.get("values") or ()
    if operator == "In":
        return key in labels and labels[key] in values
    if operator == "NotIn":
        return labels.get(key) not in values if key in labels else True
    if operator == "Exists":
        return key in labels
    if operator == "DoesNotExist":
        return key not in labels
    return False


# --- budget arithmetic -----------------------------------------------------------------------------------------------


def scaled_up(value: int | str, total: int) -> int:
    """An int-or-percent of `total`; percentages round up (both fields of a budget do).

    Raises ReadError for a string that is no percentage.
    """
    if isinstance(value, int):
        return value
    if not value.endswith("%") or not value[:-1].isdigit():
        raise ReadError(
            f'invalid value for IntOrString: invalid type: string is not a percentage: "{value}"',
            hint="write minAvailable and maxUnavailable as a number or as N%",
        )
    return -(-int(value[:-1]) * total // 100)


class Wanted(NamedTuple):
    """How many pods a budget expects to exist and how many must stay healthy."""

    expected: int
    desired: int


def needs_scale(spec: KubeObject) -> bool:
    """Whether the budget counts from its controllers' scale rather than from the pods that exist."""
    return spec.get("maxUnavailable") is not None or isinstance(spec.get("minAvailable"), str)


def wanted(spec: KubeObject, scale: int, pods: int) -> Wanted:
    """`scale` is the sum over the distinct controllers of the matched pods, `pods` the number of matched pods.

    Raises ReadError for a malformed percentage.
    """
    most_away = spec.get("maxUnavailable")
    if most_away is not None:
        return Wanted(scale, max(0, scale - scaled_up(most_away, scale)))
    least = spec.get("minAvailable")
    if least is None:
        return Wanted(0, 0)
    if isinstance(least, int):
        return Wanted(pods, least)
    return Wanted(scale, scaled_up(least, scale))


def allowed_disruptions(healthy: int, want: Wanted) -> int:
    """disruptionsAllowed; a budget that expects no pods allows none, so that its first pods are safe."""
    return max(0, healthy - want.desired) if want.expected > 0 else 0


def in_flight(approved: float | None, now: float) -> bool:
    """Whether an eviction approved at `approved` still counts as about to happen."""
    return approved is not None and approved + DISRUPTED_POD_TIMEOUT > now


def pod_ready(pod: KubeObject) -> bool:
    """The pod's Ready condition is True."""
    for condition in pod.get("status", {}).get("conditions") or ():
        if condition.get("type") == "Ready":
            return bool(condition.get("status") == "True")
    return False


def controller_of(obj: KubeObject) -> KubeObject | None:
    """The owner reference with controller: true, if any."""
    for reference in obj.get("metadata", {}).get("ownerReferences") or ():
        if reference.get("controller"):
            return dict(reference)
    return None


def finished(pod: KubeObject) -> bool:
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class BudgetCount:
    """A budget's status computed from scratch. `unmanaged` names matched pods without a controller (not counted in the
    scale); `problem` is the sync error that forces `allowed` to 0 (reason SyncFailed)."""

    expected: int
    desired: int
    healthy: int
    allowed: int
    unmanaged: tuple[str, ...] = ()
    problem: str = ""


def count_budget(
    budget: KubeObject,
    pods: Iterable[KubeObject],
    scale_of: Callable[[KubeObject], tuple[str, int] | None],
    disrupted: Mapping[str, float],
    now: float,
) -> BudgetCount:
    """What the disruption controller would write for `budget`.

    `pods` are the pods of its namespace; `scale_of(owner reference)` gives (uid, replicas) of the controller whose
    scale counts (a ReplicaSet's Deployment where it has one) or None when there is none; `disrupted` maps pod name to
    the time its eviction was approved.
    """
    spec = budget.get("spec", {})
    matched = [p for p in pods if selector_matches(spec.get("selector"), p["metadata"].get("labels") or {})]
    healthy = sum(
        1
        for p in matched
        if not p["metadata"].get("deletionTimestamp")
        and not in_flight(disrupted.get(p["metadata"]["name"]), now)
        and pod_ready(p)
    )
    scale, unmanaged, problem = 0, [], ""
    if needs_scale(spec):
        scales: dict[str, int] = {}
        for pod in matched:
            owner = controller_of(pod)
            if owner is None:
                unmanaged.append(str(pod["metadata"]["name"]))
                continue
            found = scale_of(owner)
            if found is None:
                problem = f'found no controllers for pod "{pod["metadata"]["name"]}"'
                break
            scales[found[0]] = found[1]
        scale = sum(scales.values())
    try:
        want = wanted(spec, scale, len(matched))
    except ReadError as error:
        want, problem = Wanted(0, 0), problem or error.message
    allowed = 0 if problem else allowed_disruptions(healthy, want)
    return BudgetCount(want.expected, want.desired, healthy, allowed, tuple(unmanaged), problem)


# --- the eviction subresource ----------------------------------------------------------------------------------------


class Action(StrEnum):
    DELETE = "delete"  # go ahead, the budget is untouched
    DECREMENT = "decrement"  # go ahead after taking one disruption from the budget and recording the pod in it
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the eviction subresource does. For REFUSE `code`, `reason`, `message`, `retry_after` (seconds; None sends
    no header) and `causes` ((reason, message)...) are the answer. `budget` names the one that decided."""

    action: Action
    budget: str = ""
    code: int = 201
    reason: str = ""
    message: str = ""
    retry_after: int | None = None
    causes: tuple[tuple[str, str], ...] = ()


_DELETE = Verdict(Action.DELETE)


class BudgetState(Protocol):
    """What the verdict needs to know of a budget: its name, its unhealthyPodEvictionPolicy and its stored status.

    `denied` is (reason, message) of a DisruptionAllowed condition that is False, else ("", "").
    """

    @property
    def name(self) -> str: ...
    @property
    def always_allow(self) -> bool: ...
    @property
    def stale(self) -> bool: ...
    @property
    def allowed(self) -> int: ...
    @property
    def healthy(self) -> int: ...
    @property
    def desired(self) -> int: ...
    @property
    def in_flight(self) -> int: ...
    @property
    def denied(self) -> tuple[str, str]: ...


@dataclass(frozen=True, slots=True)
class BudgetView:
    """A BudgetState read from an API object."""

    name: str
    always_allow: bool
    stale: bool
    allowed: int
    healthy: int
    desired: int
    in_flight: int
    denied: tuple[str, str]


def budget_view(budget: KubeObject) -> BudgetView:
    """The state of a PodDisruptionBudget as stored."""
    meta, spec, status = budget["metadata"], budget.get("spec") or {}, budget.get("status") or {}
    condition: Mapping[str, Any] = next(
        (c for c in status.get("conditions") or () if c.get("type") == "DisruptionAllowed"), {}
    )
    denied = condition.get("status") == "False"
    return BudgetView(
        name=str(meta["name"]),
        always_allow=spec.get("unhealthyPodEvictionPolicy") == "AlwaysAllow",
        stale=status.get("observedGeneration", 0) < meta.get("generation", 0),
        allowed=status.get("disruptionsAllowed", 0),
        healthy=status.get("currentHealthy", 0),
        desired=status.get("desiredHealthy", 0),
        in_flight=len(status.get("disruptedPods") or ()),
        denied=(condition.get("reason", ""), condition.get("message", "")) if denied else ("", ""),
    )


def judge(phase: str, ready: bool, terminating: bool, budgets: Sequence[BudgetState]) -> Verdict:
    """The eviction verdict for a pod; `budgets` are those that match it.

    Order of the rules as upstream: a pod that runs nothing (or is leaving) goes; several budgets are an error; none
    lets it go; an unready pod may go without cost; then the budget is asked.
    """
    if terminating or phase in ("Succeeded", "Failed", "Pending") or not budgets:
        return _DELETE
    budget = budgets[0]
    name = budget.name
    if len(budgets) > 1:
        return Verdict(Action.REFUSE, name, 500, "", SEVERAL_BUDGETS)
    if not ready and (budget.always_allow or budget.healthy >= budget.desired > 0):
        return Verdict(Action.DELETE, name)
    if budget.stale:
        return too_many_requests(
            name, f"The disruption budget {name} is still being processed by the server.", PROCESSING_RETRY_AFTER
        )
    if budget.allowed < 0:
        return _forbidden(name, "pdb disruptions allowed is negative")
    if budget.in_flight > MAX_DISRUPTED_PODS:
        return _forbidden(name, "DisruptedPods map too big - too many evictions not confirmed by PDB controller")
    if budget.allowed == 0:
        return too_many_requests(name, _why_none(budget), 0)
    return _decrement(name)


@lru_cache(maxsize=65536)
def _decrement(name: str) -> Verdict:
    return Verdict(Action.DECREMENT, name)


def too_many_requests(budget: str, cause: str, retry_after: int) -> Verdict:
    """The 429 of the eviction subresource."""
    return Verdict(
        Action.REFUSE, budget, 429, "TooManyRequests", VIOLATION, retry_after, (("DisruptionBudget", cause),)
    )


def _why_none(budget: BudgetState) -> str:
    """The cause text when disruptionsAllowed is 0: a failed sync comes first, its counts cannot be trusted."""
    reason, told = budget.denied
    subject = f"The disruption budget {budget.name}"
    if told and reason == "SyncFailed":
        return f"{subject} does not allow evicting pods currently because it failed sync: {told}"
    if budget.healthy <= budget.desired:
        return f"{subject} needs {budget.desired} healthy pods and has {budget.healthy} currently"
    if told:
        return f"{subject} does not allow evicting pods currently ({reason}): {told}"
    return f"{subject} does not allow evicting pods currently"


def _forbidden(name: str, why: str) -> Verdict:
    return Verdict(Action.REFUSE, name, 403, "Forbidden", f'poddisruptionbudgets.policy "{name}" is forbidden: {why}')


# --- kubectl drain ---------------------------------------------------------------------------------------------------

DAEMONSET_FATAL = "DaemonSet-managed Pods (use --ignore-daemonsets to ignore)"
DAEMONSET_WARNING = "ignoring DaemonSet-managed Pods"
LOCAL_STORAGE_FATAL = "Pods with local storage (use --delete-emptydir-data to override)"
LOCAL_STORAGE_WARNING = "deleting Pods with local storage"
UNMANAGED_FATAL = "cannot delete Pods that declare no controller (use --force to override)"
UNMANAGED_WARNING = "deleting Pods that declare no controller"


@dataclass(frozen=True, slots=True)
class DrainOptions:
    """kubectl drain's flags. The defaults are what EKS's own drain amounts to: everything but DaemonSet and mirror pods
    goes."""

    ignore_daemonsets: bool = True
    delete_emptydir_data: bool = True
    force: bool = True
    skip_deleted_after: float = 0.0  # --skip-wait-for-delete-timeout, seconds; 0 is off


@dataclass(frozen=True, slots=True)
class DrainList:
    """Pods a drain must move, in the order given; warnings and errors map kubectl's text to `namespace/name`s.

    With any error kubectl moves nothing.
    """

    pods: tuple[KubeObject, ...]
    warnings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    errors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def error_lines(self) -> list[str]:
        """As kubectl words them."""
        return [
            f"{text if text.lower().startswith('cannot delete') else 'cannot delete ' + text}: {', '.join(names)}"
            for text, names in self.errors.items()
        ]


class _Say(NamedTuple):
    delete: bool
    kind: str = ""  # "", "skip", "warning", "error"
    text: str = ""


_OKAY = _Say(True)
_SKIP = _Say(False, "skip")


def drain_list(
    pods: Iterable[KubeObject],
    options: DrainOptions,
    daemonset_exists: Callable[[str, str], bool],
    deleted_for: Callable[[KubeObject], float] = lambda pod: 0.0,
) -> DrainList:
    """kubectl's filters in kubectl's order; the first that says no ends it, the last one's warning is kept.

    `daemonset_exists(namespace, name)`; `deleted_for(pod)` is how many seconds ago its deletionTimestamp was.
    """
    keep: list[KubeObject] = []
    warnings: dict[str, list[str]] = {}
    errors: dict[str, list[str]] = {}
    for pod in pods:
        says = _OKAY
        for rule in (_skip_deleted, _daemonset, _mirror, _local_storage, _unmanaged):
            says = rule(pod, options, daemonset_exists, deleted_for)
            if not says.delete:
                break
        name = f"{pod['metadata'].get('namespace', '')}/{pod['metadata']['name']}"
        if says.kind == "warning":
            warnings.setdefault(says.text, []).append(name)
        elif says.kind == "error":
            errors.setdefault(says.text, []).append(name)
        if says.delete:
            keep.append(pod)
    return DrainList(tuple(keep), {k: tuple(v) for k, v in warnings.items()}, {k: tuple(v) for k, v in errors.items()})


_Exists = Callable[[str, str], bool]
_Age = Callable[[KubeObject], float]


def _skip_deleted(pod: KubeObject, options: DrainOptions, exists: _Exists, age: _Age) -> _Say:
    if options.skip_deleted_after > 0 and pod["metadata"].get("deletionTimestamp"):
        return _SKIP if int(age(pod)) > options.skip_deleted_after else _OKAY
    return _OKAY


def _daemonset(pod: KubeObject, options: DrainOptions, exists: _Exists, age: _Age) -> _Say:
    owner = controller_of(pod)
    if owner is None or owner.get("kind") != "DaemonSet" or finished(pod):
        return _OKAY
    if not exists(pod["metadata"].get("namespace", ""), owner["name"]):
        missing = f'daemonsets.apps "{owner["name"]}" not found'
        return _Say(True, "warning", missing) if options.force else _Say(False, "error", missing)
    if not options.ignore_daemonsets:
        return _Say(False, "error", DAEMONSET_FATAL)
    return _Say(False, "warning", DAEMONSET_WARNING)


def _mirror(pod: KubeObject, options: DrainOptions, exists: _Exists, age: _Age) -> _Say:
    return _SKIP if MIRROR_ANNOTATION in (pod["metadata"].get("annotations") or {}) else _OKAY


def _local_storage(pod: KubeObject, options: DrainOptions, exists: _Exists, age: _Age) -> _Say:
    if finished(pod) or not any(v.get("emptyDir") is not None for v in pod.get("spec", {}).get("volumes") or ()):
        return _OKAY
    if not options.delete_emptydir_data:
        return _Say(False, "error", LOCAL_STORAGE_FATAL)
    return _Say(True, "warning", LOCAL_STORAGE_WARNING)


def _unmanaged(pod: KubeObject, options: DrainOptions, exists: _Exists, age: _Age) -> _Say:
    if finished(pod) or controller_of(pod) is not None:
        return _OKAY
    return _Say(True, "warning", UNMANAGED_WARNING) if options.force else _Say(False, "error", UNMANAGED_FATAL)
