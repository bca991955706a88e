"""Disruption budgets, evictions and drains against tables of cases written from the Kubernetes sources."""

from __future__ import annotations

from typing import Any

import pytest

from baton.errors import ReadError
from baton.logic.eviction import (
    Action,
    BudgetView,
    DrainOptions,
    allowed_disruptions,
    budget_view,
    count_budget,
    drain_list,
    judge,
    scaled_up,
    selector_matches,
    wanted,
)

Obj = dict[str, Any]


def pod(name: str, *, ready: bool = True, owner: str = "rs-1", phase: str = "Running", **meta: Any) -> Obj:
    """A pod of the ReplicaSet `owner` ("" for none), labelled app=web."""
    references = [{"kind": meta.pop("kind", "ReplicaSet"), "name": owner, "uid": owner, "controller": True}]
    return {
        "metadata": {
            "name": name,
            "namespace": "shop",
            "labels": {"app": "web"},
            "ownerReferences": references if owner else [],
            **meta,
        },
        "spec": {},
        "status": {"phase": phase, "conditions": [{"type": "Ready", "status": "True" if ready else "False"}]},
    }


def budget(spec: Obj) -> Obj:
    return {
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, **spec},
    }


def view(**changes: Any) -> BudgetView:
    fields = {
        "name": "web",
        "always_allow": False,
        "stale": False,
        "allowed": 1,
        "healthy": 3,
        "desired": 2,
        "in_flight": 0,
        "denied": ("", ""),
    }
    return BudgetView(**{**fields, **changes})


@pytest.mark.parametrize(
    ("spec", "scale", "pods", "healthy", "expected", "desired", "allowed"),
    [
        ({"maxUnavailable": 1}, 3, 3, 3, 3, 2, 1),
        ({"maxUnavailable": 1}, 3, 3, 2, 3, 2, 0),
        ({"maxUnavailable": "30%"}, 1, 1, 1, 1, 0, 1),  # rounds up: no protection at all
        ({"maxUnavailable": "50%"}, 3, 3, 3, 3, 1, 2),
        ({"maxUnavailable": 5}, 3, 3, 3, 3, 0, 3),
        ({"maxUnavailable": 0}, 3, 3, 3, 3, 3, 0),
        ({"maxUnavailable": "0%"}, 3, 3, 3, 3, 3, 0),
        ({"minAvailable": "50%"}, 3, 3, 3, 3, 2, 1),
        ({"minAvailable": "100%"}, 3, 3, 3, 3, 3, 0),
        ({"minAvailable": 2}, 9, 3, 3, 3, 2, 1),  # a number counts the pods that are there, not the scale
        ({"minAvailable": 5}, 3, 3, 3, 3, 5, 0),
        ({"minAvailable": 0}, 0, 0, 0, 0, 0, 0),  # expects no pods: allows nothing
        ({"maxUnavailable": 1}, 0, 2, 2, 0, 0, 0),
        ({}, 3, 3, 3, 0, 0, 0),
    ],
)
def test_budget_arithmetic_follows_the_disruption_controller(
    spec: Obj, scale: int, pods: int, healthy: int, expected: int, desired: int, allowed: int
) -> None:
    """A wrong rounding here and a rehearsal promises evictions that production refuses, or the other way round."""
    want = wanted(spec, scale, pods)
    assert (want.expected, want.desired, allowed_disruptions(healthy, want)) == (expected, desired, allowed)


def test_malformed_percentage_is_refused() -> None:
    """A budget of "half" must be reported, not silently counted as zero."""
    with pytest.raises(ReadError, match="not a percentage"):
        scaled_up("half", 3)


@pytest.mark.parametrize(
    ("selector", "labels", "picked"),
    [
        (None, {"app": "web"}, False),
        ({}, {"app": "web"}, True),
        ({}, {}, True),
        ({"matchLabels": {"app": "web"}}, {"app": "web", "x": "y"}, True),
        ({"matchLabels": {"app": "web"}}, {"app": "api"}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["web", "api"]}]}, {"app": "api"}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}, {}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}, {"app": "web"}, False),
        ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, {"app": ""}, True),
        ({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, {"app": ""}, False),
        ({"matchExpressions": [{"key": "app", "operator": "Sounds", "values": ["web"]}]}, {"app": "web"}, False),
    ],
)
def test_selectors_pick_what_the_eviction_api_picks(selector: Obj | None, labels: dict[str, str], picked: bool) -> None:
    """An empty selector guards the whole namespace in policy/v1; taking it for nothing would lose a blocker."""
    assert selector_matches(selector, labels) is picked


def test_count_skips_pods_that_are_leaving_unready_or_about_to_be_evicted() -> None:
    """Counting a pod that is on its way out would let two go where one may."""
    pods = [
        pod("a"),
        pod("b", deletionTimestamp="2026-01-01T00:00:00Z"),
        pod("c", ready=False),
        pod("d"),
        pod("e"),
        {**pod("z"), "metadata": {**pod("z")["metadata"], "labels": {"app": "other"}}},
    ]
    disrupted = {"d": 100.0, "e": -500.0}  # e's approval is older than two minutes: it counts again
    count = count_budget(budget({"maxUnavailable": 1}), pods, lambda owner: ("deploy", 5), disrupted, now=150.0)
    assert (count.expected, count.desired, count.healthy, count.allowed) == (5, 4, 2, 0)


def test_count_sums_distinct_controllers_once() -> None:
    """Two ReplicaSets of one Deployment must count its replicas once, or a roll-out doubles the budget."""
    pods = [pod("a", owner="rs-old"), pod("b", owner="rs-new"), pod("c", owner="sts")]
    scales = {"rs-old": ("deploy", 4), "rs-new": ("deploy", 4), "sts": ("sts", 2)}
    count = count_budget(budget({"minAvailable": "50%"}), pods, lambda o: scales[o["uid"]], {}, now=0.0)
    assert (count.expected, count.desired) == (6, 3)


def test_unmanaged_pods_are_left_out_of_percentages_but_counted_by_a_number() -> None:
    """A bare pod guarded by a percentage is not protected; the report must be able to say so."""
    pods = [pod("a", owner=""), pod("b", owner="")]
    percent = count_budget(budget({"minAvailable": "100%"}), pods, lambda o: None, {}, now=0.0)
    assert (percent.unmanaged, percent.allowed, percent.expected) == (("a", "b"), 0, 0)
    number = count_budget(budget({"minAvailable": 1}), pods, lambda o: None, {}, now=0.0)
    assert (number.unmanaged, number.allowed) == ((), 1)


def test_unknown_controller_makes_the_budget_fail_safe() -> None:
    """A budget whose controller cannot be found allows nothing: the real controller writes SyncFailed."""
    count = count_budget(budget({"maxUnavailable": 1}), [pod("a")], lambda o: None, {}, now=0.0)
    assert (count.allowed, count.problem) == (0, 'found no controllers for pod "a"')


NEEDS = "The disruption budget web needs 3 healthy pods and has 3 currently"


@pytest.mark.parametrize(
    ("facts", "budgets", "action", "code", "cause", "retry"),
    [
        (("Succeeded", False, False), [view(allowed=0)], Action.DELETE, 201, "", None),
        (("Failed", False, False), [view(allowed=0)], Action.DELETE, 201, "", None),
        (("Pending", False, False), [view(allowed=0)], Action.DELETE, 201, "", None),
        (("Running", True, True), [view(allowed=0)], Action.DELETE, 201, "", None),
        (("Running", True, False), [], Action.DELETE, 201, "", None),
        (("Running", True, False), [view()], Action.DECREMENT, 201, "", None),
        (("Running", True, False), [view(), view(name="other")], Action.REFUSE, 500, "", None),
        (("Running", True, False), [view(allowed=0, healthy=3, desired=3)], Action.REFUSE, 429, NEEDS, 0),
        # not ready: free while the others are enough ...
        (("Running", False, False), [view(allowed=0, healthy=3, desired=3)], Action.DELETE, 201, "", None),
        # ... asked for like any other when they are not
        (
            ("Running", False, False),
            [view(allowed=0, healthy=1, desired=3)],
            Action.REFUSE,
            429,
            "The disruption budget web needs 3 healthy pods and has 1 currently",
            0,
        ),
        (("Running", False, False), [view(allowed=1, healthy=1, desired=0)], Action.DECREMENT, 201, "", None),
        (
            ("Running", False, False),
            [view(allowed=0, healthy=0, desired=3, always_allow=True)],
            Action.DELETE,
            201,
            "",
            None,
        ),
        (
            ("Running", True, False),
            [view(stale=True)],
            Action.REFUSE,
            429,
            "The disruption budget web is still being processed by the server.",
            10,
        ),
        (
            ("Running", True, False),
            [view(allowed=0, healthy=3, desired=2, denied=("SyncFailed", "no scale"))],
            Action.REFUSE,
            429,
            "The disruption budget web does not allow evicting pods currently because it failed sync: no scale",
            0,
        ),
        (
            ("Running", True, False),
            [view(allowed=0, healthy=3, desired=2, denied=("InsufficientPods", ""))],
            Action.REFUSE,
            429,
            "The disruption budget web does not allow evicting pods currently",
            0,
        ),
        (("Running", True, False), [view(allowed=-1)], Action.REFUSE, 403, "", None),
        (("Running", True, False), [view(in_flight=2000)], Action.DECREMENT, 201, "", None),
        (("Running", True, False), [view(in_flight=2001)], Action.REFUSE, 403, "", None),
    ],
)
def test_eviction_verdict(
    facts: tuple[str, bool, bool], budgets: list[BudgetView], action: Action, code: int, cause: str, retry: int | None
) -> None:
    """kubectl drain and EKS act on exactly these answers; another code or text and they behave otherwise."""
    verdict = judge(*facts, budgets)
    assert (verdict.action, verdict.code, verdict.retry_after) == (action, code, retry)
    assert verdict.causes == ((("DisruptionBudget", cause),) if cause else ())


def test_refusals_are_worded_as_upstream_words_them() -> None:
    """People search for these sentences; tools match on them."""
    blocked = judge("Running", True, False, [view(allowed=0)])
    assert blocked.message == "Cannot evict pod as it would violate the pod's disruption budget."
    several = judge("Running", True, False, [view(), view()])
    assert several.message == (
        "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
    )
    negative = judge("Running", True, False, [view(allowed=-1)])
    assert negative.message == ('poddisruptionbudgets.policy "web" is forbidden: pdb disruptions allowed is negative')


def test_view_of_a_stored_budget_reads_every_field_the_verdict_needs() -> None:
    """A snapshot's budgets are judged from their stored status; a field read wrong changes the answer."""
    stored = {
        "metadata": {"name": "web", "generation": 3},
        "spec": {"unhealthyPodEvictionPolicy": "AlwaysAllow"},
        "status": {
            "observedGeneration": 2,
            "disruptionsAllowed": 4,
            "currentHealthy": 7,
            "desiredHealthy": 3,
            "disruptedPods": {"a": "2026-01-01T00:00:00Z"},
            "conditions": [{"type": "DisruptionAllowed", "status": "False", "reason": "SyncFailed", "message": "why"}],
        },
    }
    assert budget_view(stored) == BudgetView("web", True, True, 4, 7, 3, 1, ("SyncFailed", "why"))


# --- drain


def drained(pods: list[Obj], exists: bool = True, age: float = 0.0, **flags: Any) -> tuple[list[str], Obj, Obj]:
    found = drain_list(pods, DrainOptions(**flags), lambda namespace, name: exists, lambda p: age)
    return [p["metadata"]["name"] for p in found.pods], dict(found.warnings), dict(found.errors)


STRICT = {"ignore_daemonsets": False, "delete_emptydir_data": False, "force": False}


def with_volume(p: Obj) -> Obj:
    return {**p, "spec": {"volumes": [{"name": "cache", "emptyDir": {}}]}}


MIRROR = pod("m", owner="", annotations={"kubernetes.io/config.mirror": "x"})


@pytest.mark.parametrize(
    ("subject", "exists", "flags", "moved", "warning", "error"),
    [
        (pod("a"), True, STRICT, True, "", ""),
        (
            pod("d", kind="DaemonSet"),
            True,
            STRICT,
            False,
            "",
            "DaemonSet-managed Pods (use --ignore-daemonsets to ignore)",
        ),
        (pod("d", kind="DaemonSet"), True, {}, False, "ignoring DaemonSet-managed Pods", ""),
        (pod("d", kind="DaemonSet", phase="Succeeded"), True, STRICT, True, "", ""),
        (pod("d", kind="DaemonSet", owner="gone"), False, STRICT, False, "", 'daemonsets.apps "gone" not found'),
        (MIRROR, True, STRICT, False, "", ""),
        (
            with_volume(pod("v")),
            True,
            STRICT,
            False,
            "",
            "Pods with local storage (use --delete-emptydir-data to override)",
        ),
        (with_volume(pod("v", phase="Failed")), True, STRICT, True, "", ""),
        (
            pod("b", owner=""),
            True,
            STRICT,
            False,
            "",
            "cannot delete Pods that declare no controller (use --force to override)",
        ),
        (pod("b", owner=""), True, {}, True, "deleting Pods that declare no controller", ""),
        (pod("b", owner="", phase="Succeeded"), True, STRICT, True, "", ""),
    ],
)
def test_drain_chooses_pods_as_kubectl_does(
    subject: Obj, exists: bool, flags: Obj, moved: bool, warning: str, error: str
) -> None:
    """A drain that moves a DaemonSet's pod, or forgets a bare one, empties the node differently than kubectl would."""
    names, warnings, errors = drained([subject], exists, **flags)
    assert (bool(names), "".join(warnings), "".join(errors)) == (moved, warning, error)


def test_drain_skips_pods_that_have_been_leaving_for_too_long_only_when_told_to() -> None:
    """--skip-wait-for-delete-timeout is what gets people past a pod that never goes."""
    leaving = pod("a", deletionTimestamp="2026-01-01T00:00:00Z")
    assert drained([leaving], age=100.0)[0] == ["a"]
    assert drained([leaving], age=100.0, skip_deleted_after=60)[0] == []
    assert drained([leaving], age=30.0, skip_deleted_after=60)[0] == ["a"]


def test_drain_errors_read_like_kubectl() -> None:
    """The lines a user compares with their terminal."""
    found = drain_list(
        [pod("d", kind="DaemonSet"), pod("b", owner=""), pod("c", owner="")],
        DrainOptions(**STRICT),  # type: ignore[arg-type]
        lambda namespace, name: True,
    )
    assert found.error_lines() == [
        "cannot delete DaemonSet-managed Pods (use --ignore-daemonsets to ignore): shop/d",
        "cannot delete Pods that declare no controller (use --force to override): shop/b, shop/c",
    ]
