"""Random lives of workloads: whatever people and machines do to them, the controllers keep upstream's promises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kube_lab import Lab, Obj

from baton.twin.controllers.deployments import resolve

CALM = settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)
amounts = st.sampled_from([0, 1, 2, "25%", "34%", "50%", "100%"])


def is_ready(pod: Obj) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions") or ())


def alive(pods: list[Obj]) -> list[Obj]:
    return [p for p in pods if not p["metadata"].get("deletionTimestamp")]


class Every:
    """Calls `check()` whenever the controllers have settled after a change of pods."""

    def __init__(self, lab: Lab, check: Callable[[], None]) -> None:
        self._due = False
        self._lab = lab
        self._check = check
        lab.world.subscribe(self._note, ["pods"])

    def _note(self, *change: Any) -> None:
        if not self._due:
            self._due = True
            self._lab.clock.call_later(0.0, self._look, 1000)

    def _look(self) -> None:
        self._due = False
        self._check()


# --- Deployments


@CALM
@given(
    replicas=st.integers(1, 9),
    surge=amounts,
    unavailable=amounts,
    rolls=st.lists(st.tuples(st.integers(0, 40), st.sampled_from(["2", "3", "4"])), min_size=1, max_size=4),
)
def test_a_rolling_update_never_has_too_many_or_too_few(
    replicas: int, surge: int | str, unavailable: int | str, rolls: list[tuple[int, str]]
) -> None:
    """maxSurge and maxUnavailable are what people size budgets and nodes by; also when one roll meets the next."""
    if resolve(surge, replicas, up=True) == 0 and resolve(unavailable, replicas, up=False) == 0:
        unavailable = 1
    lab = Lab(nodes=3)
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
    lab.deployment("web", replicas, strategy=rolling)
    lab.wait(60)
    most = replicas + resolve(surge, replicas, up=True)
    least = replicas - min(replicas, resolve(unavailable, replicas, up=False))
    seen: list[tuple[int, int]] = []

    def check() -> None:
        pods = alive(lab.pods("web"))
        seen.append((len(pods), sum(is_ready(p) for p in pods)))

    Every(lab, check)
    for pause, version in rolls:
        lab.change("deployments.apps", "web", {"template": lab.template("web", version=version)})
        lab.wait(pause)
    lab.wait(600)
    assert all(total <= most and ready >= least for total, ready in seen), (most, least, seen)
    images = {p["spec"]["containers"][0]["image"] for p in lab.pods("web")}
    assert images == {f"web:{rolls[-1][1]}"}
    status = lab.get("deployments.apps", "web")["status"]
    assert (status["replicas"], status["updatedReplicas"], status["availableReplicas"]) == (replicas,) * 3
    assert status["observedGeneration"] == lab.get("deployments.apps", "web")["metadata"]["generation"]


@CALM
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("scale"), st.integers(0, 8)),
            st.tuples(st.just("image"), st.integers(1, 4)),
            st.tuples(st.just("kill"), st.integers(0, 7)),
            st.tuples(st.just("pause"), st.booleans()),
            st.tuples(st.just("node"), st.integers(0, 2)),
            st.tuples(st.just("wait"), st.integers(1, 60)),
        ),
        max_size=12,
    ),
    strategy=st.sampled_from(["RollingUpdate", "Recreate"]),
)
def test_a_deployment_comes_to_rest_as_its_spec_says(steps: list[tuple[str, Any]], strategy: str) -> None:
    """After any mixture of scaling, rolling, pausing, killing and lost nodes: the right pods, rising revisions."""
    lab = Lab(nodes=3)
    lab.deployment("web", 3, strategy={"type": strategy})
    lab.wait(30)
    revisions: list[int] = []
    replicas, image, nodes = 3, "1", 3
    for what, value in steps:
        if what == "scale":
            replicas = value
            lab.change("deployments.apps", "web", {"replicas": value})
        elif what == "image":
            image = str(value)
            lab.change("deployments.apps", "web", {"template": lab.template("web", version=image)})
        elif what == "pause":
            lab.change("deployments.apps", "web", {"paused": value})
        elif what == "kill":
            pods = lab.pods("web")
            if pods:
                lab.kube.evict("default", pods[value % len(pods)]["metadata"]["name"], delete=True)
        elif what == "node" and nodes > 1 and lab.world.get("nodes", None, f"node-{value}") is not None:
            nodes -= 1
            lab.kube.remove_node(f"node-{value}")
        else:
            lab.wait(float(value))
        notes = lab.get("deployments.apps", "web")["metadata"].get("annotations") or {}
        revisions.append(int(notes.get("deployment.kubernetes.io/revision", "1")))
    lab.change("deployments.apps", "web", {"paused": False})
    lab.wait(900)
    pods = alive(lab.pods("web"))
    assert len(pods) == replicas and all(is_ready(p) for p in pods)
    assert {p["spec"]["containers"][0]["image"] for p in pods} <= {f"web:{image}"}
    assert revisions == sorted(revisions)
    sizes = [r["spec"]["replicas"] for r in lab.world.items("replicasets.apps", "default")]
    assert sorted(sizes)[:-1] == [0] * (len(sizes) - 1)


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_history_is_kept_to_its_limit(limit: int) -> None:
    """`rollout undo` finds revisionHistoryLimit old ReplicaSets, the newest ones, and no more."""
    lab = Lab(nodes=2)
    lab.deployment("web", 1, revisionHistoryLimit=limit)
    lab.wait(60)
    for version in "2345":
        lab.change("deployments.apps", "web", {"template": lab.template("web", version=version)})
        lab.wait(120)
    old = [r for r in lab.world.items("replicasets.apps", "default") if not r["spec"]["replicas"]]
    kept = sorted(int(r["metadata"]["annotations"]["deployment.kubernetes.io/revision"]) for r in old)
    assert kept == [4, 3, 2, 1][:limit][::-1]


# --- StatefulSets


@CALM
@given(
    start=st.integers(1, 4),
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("scale"), st.integers(0, 5)),
            st.tuples(st.just("image"), st.integers(2, 4)),
            st.tuples(st.just("kill"), st.integers(0, 5)),
            st.tuples(st.just("wait"), st.integers(1, 30)),
        ),
        max_size=8,
    ),
)
def test_a_statefulset_keeps_its_order(start: int, steps: list[tuple[str, Any]]) -> None:
    """OrderedReady: a new ordinal begins only when all before it are Ready; nothing ever runs twice under one name."""
    lab = Lab(nodes=3)
    lab.statefulset("db", start)
    early: list[str] = []

    def added(type_: str, resource: str, obj: Obj, old: Obj | None) -> None:
        if type_ != "ADDED":
            return
        ordinal = int(obj["metadata"]["name"].rpartition("-")[2])
        there = {int(p["metadata"]["name"].rpartition("-")[2]): p for p in lab.pods("db")}
        if not all(i in there and is_ready(there[i]) for i in range(ordinal)):
            early.append(obj["metadata"]["name"])

    lab.world.subscribe(added, ["pods"])
    replicas, image = start, "1"
    for what, value in steps:
        if what == "scale":
            replicas = value
            lab.change("statefulsets.apps", "db", {"replicas": value})
        elif what == "image":
            image = str(value)
            lab.change("statefulsets.apps", "db", {"template": lab.template("db", version=image)})
        elif what == "kill":
            lab.kube.evict("default", f"db-{value}", delete=True)
        else:
            lab.wait(float(value))
    lab.wait(900)
    assert lab.names("db") == [f"db-{i}" for i in range(replicas)]
    assert {p["spec"]["containers"][0]["image"] for p in lab.pods("db")} <= {f"db:{image}"}
    assert all(is_ready(p) for p in lab.pods("db"))
    assert not early


def test_a_statefulset_update_takes_one_at_a_time_from_the_top() -> None:
    """Databases count on it: never two members away, the lowest ordinal last."""
    lab = Lab(nodes=3)
    lab.statefulset("db", 4)
    lab.wait(60)
    gone: list[str] = []
    worst = [0]

    def see(type_: str, resource: str, obj: Obj, old: Obj | None) -> None:
        if type_ == "DELETED":
            gone.append(obj["metadata"]["name"])
        worst[0] = max(worst[0], 4 - sum(is_ready(p) for p in alive(lab.pods("db"))))

    lab.world.subscribe(see, ["pods"])
    lab.change("statefulsets.apps", "db", {"template": lab.template("db", version="2")})
    lab.wait(300)
    assert gone == ["db-3", "db-2", "db-1", "db-0"]
    assert worst[0] == 1
    status = lab.get("statefulsets.apps", "db")["status"]
    assert status["currentRevision"] == status["updateRevision"]


# --- DaemonSets


@CALM
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("join"), st.integers(0, 5)),
            st.tuples(st.just("leave"), st.integers(0, 5)),
            st.tuples(st.just("taint"), st.integers(0, 5)),
            st.tuples(st.just("clear"), st.integers(0, 5)),
            st.tuples(st.just("cordon"), st.integers(0, 5)),
            st.tuples(st.just("kill"), st.integers(0, 5)),
            st.tuples(st.just("wait"), st.integers(1, 20)),
        ),
        max_size=12,
    )
)
def test_a_daemonset_runs_once_on_every_node_that_it_tolerates(steps: list[tuple[str, int]]) -> None:
    """Exactly one pod per fitting node, cordoned or not, whatever nodes did meanwhile."""
    lab = Lab(nodes=2)
    lab.daemonset("agent")
    for what, value in steps:
        name = f"node-{value}"
        node = lab.world.get("nodes", None, name)
        if what == "join" and node is None:
            lab.node(value)
        elif what == "wait":
            lab.wait(value)
        elif node is None:
            continue
        elif what == "leave":
            lab.kube.remove_node(name)
        elif what == "cordon":
            lab.kube.cordon(name)
        elif what == "kill":
            for pod in lab.pods("agent"):
                if pod["spec"].get("nodeName") == name:
                    lab.kube.evict("default", pod["metadata"]["name"], delete=True)
        else:
            kept = [t for t in node["spec"].get("taints") or () if t["key"] != "own"]
            taints = [*kept, *([{"key": "own", "effect": "NoExecute"}] if what == "taint" else [])]
            lab.world.update("nodes", {**node, "spec": {**node["spec"], "taints": taints}})
    lab.wait(300)
    fitting = sorted(
        n["metadata"]["name"]
        for n in lab.world.items("nodes")
        if not any(t["key"] == "own" for t in n["spec"].get("taints") or ())
    )
    assert sorted(p["spec"].get("nodeName", "") for p in lab.pods("agent")) == fitting
    status = lab.get("daemonsets.apps", "agent")["status"]
    assert (status["desiredNumberScheduled"], status["numberReady"]) == (len(fitting), len(fitting))


# --- Jobs


@CALM
@given(parallelism=st.integers(1, 4), completions=st.integers(1, 6), kills=st.lists(st.integers(1, 40), max_size=4))
def test_a_job_completes_as_often_as_asked(parallelism: int, completions: int, kills: list[int]) -> None:
    """Never more than parallelism at once, completions reached exactly, evictions made good."""
    lab = Lab(nodes=2)
    lab.job("work", parallelism=parallelism, completions=completions)
    most = [0]

    def running() -> None:
        active = [p for p in alive(lab.pods("work")) if p["status"]["phase"] in ("Pending", "Running")]
        most[0] = max(most[0], len(active))

    Every(lab, running)
    for pause in kills:
        lab.wait(pause)
        for pod in alive(lab.pods("work")):
            if pod["status"]["phase"] == "Running":
                lab.kube.evict("default", pod["metadata"]["name"])
                break
    lab.wait(3000)
    status = lab.get("jobs.batch", "work")["status"]
    assert status["succeeded"] == completions
    assert any(c["type"] == "Complete" and c["status"] == "True" for c in status["conditions"])
    assert most[0] <= parallelism


def test_an_evicted_jobs_pod_comes_back_after_the_back_off() -> None:
    """10 s, 20 s, 40 s...: Jobs under eviction take longer than their pods' run time tells."""
    lab = Lab(nodes=1)
    lab.job("work")
    lab.wait(10)
    births: list[float] = []
    deaths: list[float] = []

    def see(type_: str, resource: str, obj: Obj, old: Obj | None) -> None:
        if type_ == "ADDED":
            births.append(lab.seconds)

    lab.world.subscribe(see, ["pods"])
    for _ in range(3):
        (pod,) = alive(lab.pods("work"))
        deaths.append(lab.seconds)
        lab.kube.evict("default", pod["metadata"]["name"])
        while len(births) < len(deaths):
            lab.wait(1)
        lab.wait(5)
    assert [round(b - d) for b, d in zip(births, deaths, strict=True)] == [10, 20, 40]


def test_a_job_past_its_deadline_fails_and_takes_its_pods_along() -> None:
    """activeDeadlineSeconds ends a job that an upgrade keeps interrupting."""
    lab = Lab(nodes=1)
    lab.job("work", activeDeadlineSeconds=15)
    lab.wait(60)
    conditions = {c["type"]: c for c in lab.get("jobs.batch", "work")["status"]["conditions"]}
    assert conditions["Failed"]["reason"] == "DeadlineExceeded"
    assert not lab.pods("work")


# --- budgets


@CALM
@given(
    replicas=st.integers(1, 9),
    field=st.sampled_from(["minAvailable", "maxUnavailable"]),
    value=st.one_of(st.integers(0, 10), st.integers(0, 100).map(lambda n: f"{n}%")),
    unready=st.integers(0, 9),
    policy=st.sampled_from([None, "IfHealthyBudget", "AlwaysAllow"]),
)
def test_budget_status_is_upstreams_arithmetic(
    replicas: int, field: str, value: int | str, unready: int, policy: str | None
) -> None:
    """Both percentages round up; what is allowed, and whom eviction lets go, follows from that alone."""
    lab = Lab(nodes=3)
    lab.deployment("web", replicas)
    lab.budget("web", **{field: value, **({"unhealthyPodEvictionPolicy": policy} if policy else {})})
    lab.wait(60)
    for pod in lab.pods("web")[:unready]:
        conditions = [{**c, "status": "False"} if c["type"] == "Ready" else c for c in pod["status"]["conditions"]]
        lab.world.update("pods", {**pod, "status": {**pod["status"], "conditions": conditions}})
    lab.wait(1)
    status = lab.get("poddisruptionbudgets.policy", "web")["status"]
    healthy = max(0, replicas - unready)
    number = value if isinstance(value, int) else -(-int(value[:-1]) * replicas // 100)
    desired = number if field == "minAvailable" else max(0, replicas - number)
    allowed = max(0, healthy - desired)
    assert (status["currentHealthy"], status["desiredHealthy"], status["expectedPods"]) == (healthy, desired, replicas)
    assert status["disruptionsAllowed"] == allowed
    ready = [p["metadata"]["name"] for p in lab.pods("web") if is_ready(p)]
    if ready:
        assert lab.kube.evict("default", ready[0], dry_run=True).verdict == ("evicted" if allowed else "blocked")
    sick = [p["metadata"]["name"] for p in lab.pods("web") if not is_ready(p)]
    if sick:
        free = policy == "AlwaysAllow" or (healthy >= desired > 0) or allowed > 0
        assert lab.kube.evict("default", sick[0], dry_run=True).verdict == ("evicted" if free else "blocked")


# --- endpoints, nodes, namespaces


@CALM
@given(kills=st.lists(st.integers(0, 5), max_size=5), pauses=st.lists(st.integers(0, 9), min_size=5, max_size=5))
def test_endpoints_are_the_ready_pods(kills: list[int], pauses: list[int]) -> None:
    """Traffic goes to Ready pods: no endpoint may stay for a pod that is gone, none be missing."""
    lab = Lab(nodes=3)
    lab.deployment("web", 4)
    service = {"metadata": {"name": "web", "namespace": "default"}, "spec": {"selector": {"app": "web"}, "ports": []}}
    lab.world.create("services", {**service, "kind": "Service", "apiVersion": "v1"})
    lab.wait(60)
    for index, pause in zip(kills, pauses, strict=False):
        pods = lab.pods("web")
        lab.kube.evict("default", pods[index % len(pods)]["metadata"]["name"], delete=True)
        lab.wait(pause)

    def shown() -> set[str]:
        return {
            e["targetRef"]["name"]
            for s in lab.world.items("endpointslices.discovery.k8s.io", "default")
            if (s["metadata"].get("labels") or {}).get("kubernetes.io/service-name") == "web"
            for e in s["endpoints"]
            if e["conditions"]["ready"]
        }

    lab.wait(0.5)
    assert shown() == {p["metadata"]["name"] for p in alive(lab.pods("web")) if is_ready(p)}
    lab.wait(120)
    assert shown() == set(lab.names("web")) and len(shown()) == 4


def test_a_lost_nodes_pods_are_evicted_after_their_toleration_and_replaced() -> None:
    """50 s of silence, then NotReady and two taints; 300 s later (or as long as a pod tolerates) replacements start."""
    lab = Lab(nodes=2)
    quick = [
        {"key": k, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 20}
        for k in ("node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready")
    ]
    lab.kube.cordon("node-1")
    lab.deployment("slow", 1)
    lab.deployment("quick", 1, lab.template("quick", tolerations=quick))
    lab.wait(30)
    lab.kube.cordon("node-1", False)
    start = lab.seconds
    lab.kube.node_unreachable("node-0")
    marked: dict[str, float] = {}
    lost: list[float] = []

    def see(type_: str, resource: str, obj: Obj, old: Obj | None) -> None:
        if resource == "pods" and obj["metadata"].get("deletionTimestamp"):
            marked.setdefault(obj["metadata"]["labels"]["app"], lab.seconds - start)
        if resource == "nodes" and any(
            c["type"] == "Ready" and c["status"] == "Unknown" for c in obj["status"]["conditions"]
        ):
            lost.append(lab.seconds - start)

    lab.world.subscribe(see, ["pods", "nodes"])
    lab.wait(600)
    node = lab.get("nodes", "node-0", "")
    effects = {t["effect"] for t in node["spec"]["taints"] if t["key"] == "node.kubernetes.io/unreachable"}
    assert effects == {"NoSchedule", "NoExecute"}
    assert round(lost[0]) == 50
    assert {k: round(v) for k, v in marked.items()} == {"quick": 70, "slow": 350}
    for app in ("slow", "quick"):
        running = [p for p in alive(lab.pods(app)) if is_ready(p)]
        assert [p["spec"]["nodeName"] for p in running] == ["node-1"]
        assert len(lab.pods(app)) == 2  # the old one stays Terminating until somebody hears from its node
    lab.kube.remove_node("node-0")
    lab.wait(10)
    assert all(len(lab.pods(app)) == 1 for app in ("slow", "quick"))


@CALM
@given(
    inside=st.lists(st.sampled_from(["deployment", "statefulset", "daemonset", "job", "budget", "map"]), max_size=6),
    pause=st.integers(0, 30),
)
def test_a_deleted_namespace_takes_everything_in_it_and_nothing_else(inside: list[str], pause: int) -> None:
    """`kubectl delete ns` must end, and leave the neighbours alone."""
    lab = Lab(nodes=2)
    for name in ("gone", "kept"):
        lab.world.create(
            "namespaces",
            {
                "kind": "Namespace",
                "apiVersion": "v1",
                "metadata": {"name": name},
                "spec": {"finalizers": ["kubernetes"]},
            },
        )
        for index, what in enumerate(inside):
            _put(lab, name, what, f"{what}-{index}")
    lab.wait(pause)
    lab.kube.delete("namespaces", None, "gone")
    holder = lab.world.get("namespaces", None, "gone")
    assert holder is None or holder["status"]["phase"] == "Terminating"
    before = {
        r: [o["metadata"]["name"] for o in lab.world.items(r, "kept")] for r in ("deployments.apps", "configmaps")
    }
    lab.wait(300)
    assert lab.world.get("namespaces", None, "gone") is None
    for resource in list(lab.world.resources()):
        assert not list(lab.world.items(resource, "gone")), resource
    for resource, names in before.items():
        assert [o["metadata"]["name"] for o in lab.world.items(resource, "kept")] == names
    assert len(list(lab.world.items("pods", "kept"))) >= sum(w in ("deployment", "statefulset") for w in inside)


def _put(lab: Lab, namespace: str, what: str, name: str) -> None:
    template = lab.template(name)
    selector = {"matchLabels": {"app": name}}
    work = {"selector": selector, "template": template}
    shapes: dict[str, tuple[str, str, str, Obj]] = {
        "deployment": ("deployments.apps", "apps/v1", "Deployment", {"replicas": 1, **work}),
        "statefulset": ("statefulsets.apps", "apps/v1", "StatefulSet", {"replicas": 1, **work}),
        "daemonset": ("daemonsets.apps", "apps/v1", "DaemonSet", work),
        "job": ("jobs.batch", "batch/v1", "Job", {"template": lab.template(name, restartPolicy="Never")}),
        "budget": ("poddisruptionbudgets.policy", "policy/v1", "PodDisruptionBudget", {"selector": selector}),
        "map": ("configmaps", "v1", "ConfigMap", {}),
    }
    resource, version, kind, spec = shapes[what]
    body: Obj = {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": namespace}}
    if spec:
        body["spec"] = spec
    lab.world.create(resource, body)
