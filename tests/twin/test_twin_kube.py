"""The Kubernetes side of the twin: nodes, evictions, drains, add-ons and news, on small clusters, steady timings."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from kube_lab import START, STEADY, Lab, exactly

from baton.logic.eviction import DrainOptions
from baton.twin.clock import VirtualClock
from baton.twin.kube import KubeTwin
from baton.twin.timings import PodTimes, TwinSettings
from baton.twin.world import World


def test_node_registers_turns_ready_and_leaves() -> None:
    """Whoever waits for a node to join must see it NotReady and tainted first, then Ready, then gone with its pods."""
    lab = Lab()
    name = lab.node(0)
    node = lab.world.get("nodes", None, name)
    assert node is not None
    assert [t["key"] for t in node["spec"]["taints"]] == ["node.kubernetes.io/not-ready"] * 2
    lab.wait(9.9)
    assert lab.world.get("nodes", None, name)["status"]["conditions"][-1]["status"] == "False"  # type: ignore[index]
    lab.wait(0.1)
    ready = lab.world.get("nodes", None, name)
    assert ready is not None and "taints" not in ready["spec"]
    assert ready["status"]["conditions"][-1]["reason"] == "KubeletReady"
    lab.kube.remove_node(name)
    assert lab.world.get("nodes", None, name) is None


def test_on_ready_is_called_once_when_the_node_is_ready() -> None:
    """The cloud side continues a roll from this call; missing it stalls the update, twice would double it."""
    lab = Lab(nodes=1)
    spec = NodeSpecs.one("late")
    told: list[float] = []
    lab.kube.boot_node(spec, lambda: told.append(lab.seconds))
    lab.wait(60)
    assert told == [25.0]


def test_node_with_broken_user_data_never_appears() -> None:
    """NodeCreationFailure is rehearsed with instances that run and never join."""
    lab = Lab()
    lab.kube.boot_node(NodeSpecs.one("broken", joins=False))
    lab.wait(600)
    assert lab.world.count("nodes") == 0


class NodeSpecs:
    """Specs that the lab does not make itself."""

    @staticmethod
    def one(name: str, joins: bool = True):  # type: ignore[no-untyped-def]
        from baton.twin.kube import NodeSpec

        allocatable = {"cpu": "4", "memory": "16Gi", "pods": "58"}
        return NodeSpec(
            name, "i-9", "us-east-1a", "us-east-1", "m6i.large", "ami", "v1.35.1", allocatable=allocatable, joins=joins
        )


def test_evicted_pod_is_replaced_step_by_step() -> None:
    """The whole life of one move, second by second: this order is what rehearsals predict."""
    lab = Lab(nodes=2)
    lab.deployment("web", 1, lab.template("web", delay=5))
    lab.wait(20)
    (first,) = lab.names("web")
    lab.watch("pods")
    start = lab.seconds
    answer = lab.kube.evict("default", first)
    assert (answer.verdict, answer.status) == ("evicted", 201)
    lab.wait(20)
    (second,) = lab.names("web")
    steps = [(round(at - start, 3), what.replace(first, "first").replace(second, "second")) for at, what in lab.log]
    assert steps == [
        (0.0, "MODIFIED pods first"),  # marked DisruptionTarget
        (0.0, "MODIFIED pods first"),  # deletionTimestamp
        (0.0, "ADDED pods second"),
        (0.0, "MODIFIED pods second"),  # bound
        (0.0, "MODIFIED pods second"),  # ContainerCreating
        (2.0, "MODIFIED pods first"),  # its containers ended
        (2.0, "DELETED pods first"),
        (3.0, "MODIFIED pods second"),  # running
        (8.0, "MODIFIED pods second"),  # ready
    ]


def test_budget_blocks_the_second_eviction_until_the_first_replacement_is_ready() -> None:
    """The heart of every roll: one away at a time, and the waiting eviction is told exactly when it may go."""
    lab = Lab(nodes=2)
    lab.deployment("web", 3, lab.template("web", delay=5))
    lab.budget("web", maxUnavailable=1)
    lab.wait(30)
    one, two, _ = lab.names("web")
    news: list[tuple[float, str, str]] = []
    start = lab.seconds
    lab.kube.on_disruption_change(lambda kind, ns, name: news.append((lab.seconds - start, kind, name)))
    assert lab.kube.evict("default", one).verdict == "evicted"
    refused = lab.kube.evict("default", two)
    assert (refused.verdict, refused.status, refused.pdb) == ("blocked", 429, "web")
    lab.wait(20)
    assert news == [(2.0, "pod", one), (8.0, "budget", "web")]
    assert lab.kube.evict("default", two).verdict == "evicted"


def test_refusal_answers_like_the_api_server() -> None:
    """kubectl prints this Status; its cause is what people read first when a drain hangs."""
    lab = Lab(nodes=1)
    lab.deployment("web", 2)
    lab.budget("web", minAvailable=2)
    lab.wait(30)
    status = lab.kube.evict("default", lab.names("web")[0]).to_status()
    assert status == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "Cannot evict pod as it would violate the pod's disruption budget.",
        "reason": "TooManyRequests",
        "details": {
            "causes": [
                {
                    "reason": "DisruptionBudget",
                    "message": "The disruption budget web needs 2 healthy pods and has 2 currently",
                }
            ]
        },
        "code": 429,
    }
    gone = lab.kube.evict("default", "nobody").to_status()
    assert (gone["code"], gone["reason"], gone["message"]) == (404, "NotFound", 'pods "nobody" not found')


def test_two_budgets_on_one_pod_can_never_be_evicted_but_deleted() -> None:
    """A known cause of PodEvictionFailure: only force gets past it."""
    lab = Lab(nodes=1)
    lab.deployment("web", 1)
    lab.budget("web", maxUnavailable=1)
    lab.budget("twice", maxUnavailable=1, selector={"matchLabels": {"app": "web"}})
    lab.wait(30)
    (name,) = lab.names("web")
    assert lab.kube.evict("default", name).status == 500
    assert lab.kube.evict("default", name, delete=True).verdict == "evicted"


def test_dry_run_eviction_changes_nothing() -> None:
    """`kubectl drain --dry-run=server` must be free of consequences."""
    lab = Lab(nodes=1)
    lab.deployment("web", 2)
    lab.budget("web", maxUnavailable=1)
    lab.wait(30)
    before = lab.world.rv
    assert lab.kube.evict("default", lab.names("web")[0], dry_run=True).verdict == "evicted"
    assert lab.world.rv == before


def test_pending_pod_is_evicted_without_asking_the_budget() -> None:
    """A pod that was never running disrupts nobody; upstream deletes it at once."""
    lab = Lab()
    lab.deployment("web", 1)
    lab.budget("web", maxUnavailable=0)
    lab.wait(1)
    (name,) = lab.names("web")
    assert lab.kube.evict("default", name).verdict == "evicted"
    assert lab.world.get("pods", "default", name) is None


def test_unready_pods_go_freely_only_while_enough_others_are_healthy() -> None:
    """A crash-looping workload can block a drain for ever under the default policy; AlwaysAllow lifts it."""
    times = {"default/sick": PodTimes(never_ready=True)}
    lab = Lab(TwinSettings(timings=STEADY, workloads=times), nodes=1)
    lab.deployment("sick", 2)
    lab.budget("sick", maxUnavailable=1)
    lab.wait(30)
    (name, other) = lab.names("sick")
    assert lab.kube.evict("default", name).status == 429
    lab.change("poddisruptionbudgets.policy", "sick", {"unhealthyPodEvictionPolicy": "AlwaysAllow"})
    assert lab.kube.evict("default", other).verdict == "evicted"


def test_drain_moves_what_kubectl_would_move() -> None:
    """DaemonSet pods stay, bare pods go and are lost; the report counts on that."""
    lab = Lab(nodes=1)
    lab.deployment("web", 1)
    lab.daemonset("agent")
    lab.bare("lonely")
    lab.wait(30)
    moved = [p["metadata"]["labels"]["app"] for p in lab.kube.drain_pods("node-0")]
    assert sorted(moved) == ["lonely", "web"]
    careful = lab.kube.drain("node-0", DrainOptions(force=False))
    assert list(careful.errors) == ["cannot delete Pods that declare no controller (use --force to override)"]


def test_cordoned_node_takes_no_new_pods_but_keeps_its_daemon() -> None:
    """A cordon that does not hold sends pods back onto old nodes; one that evicts DaemonSets breaks it."""
    lab = Lab(nodes=2)
    lab.daemonset("agent")
    lab.wait(20)
    lab.kube.cordon("node-0", labels={"drain": "yes"})
    lab.deployment("web", 4)
    lab.wait(20)
    assert {p["spec"]["nodeName"] for p in lab.pods("web")} == {"node-1"}
    assert {p["spec"]["nodeName"] for p in lab.pods("agent")} == {"node-0", "node-1"}
    node = lab.world.get("nodes", None, "node-0")
    assert node is not None and node["metadata"]["labels"]["drain"] == "yes"
    assert [t["key"] for t in node["spec"]["taints"]] == ["node.kubernetes.io/unschedulable"]
    lab.kube.cordon("node-0", False, {"drain": None})
    lab.wait(1)
    node = lab.world.get("nodes", None, "node-0")
    assert node is not None and "taints" not in node["spec"] and "drain" not in node["metadata"]["labels"]


def test_removed_node_loses_its_pods_at_once_and_controllers_replace_them() -> None:
    """An instance that dies takes its pods with it whatever the budgets say."""
    lab = Lab(nodes=2)
    lab.deployment("web", 4)
    lab.budget("web", maxUnavailable=0)
    lab.bare("lonely", nodeName="node-0")
    lab.wait(20)
    lab.kube.remove_node("node-0")
    lab.wait(20)
    assert {p["spec"]["nodeName"] for p in lab.pods("web")} == {"node-1"}
    assert lab.ready("web") == 4
    assert lab.names("lonely") == []


def test_unreachable_node_is_tainted_and_its_pods_stay_terminating() -> None:
    """Pods of a node that stopped reporting cannot be confirmed dead: they hang until the node is gone."""
    lab = Lab(nodes=2)
    lab.deployment("web", 2)
    lab.wait(20)
    lab.kube.node_unreachable("node-0")
    lab.wait(51)
    node = lab.world.get("nodes", None, "node-0")
    assert node is not None
    assert {t["key"] for t in node["spec"]["taints"]} == {"node.kubernetes.io/unreachable"}
    lab.wait(310)
    hanging = [p for p in lab.pods("web") if p["metadata"].get("deletionTimestamp")]
    assert {p["spec"]["nodeName"] for p in hanging} <= {"node-0"}
    assert lab.ready("web") == 2
    lab.kube.remove_node("node-0")
    lab.wait(1)
    assert len(lab.pods("web")) == 2


def test_unschedulable_pod_says_why_and_goes_once_a_node_comes() -> None:
    """The FailedScheduling text is what `blocked` and `unschedulable` in reports are made of."""
    lab = Lab(nodes=2)
    lab.kube.cordon("node-0")
    lab.deployment("big", 1, lab.template("big", cpu="9"))
    lab.wait(2)
    ((namespace, _, since, why),) = lab.kube.unschedulable()
    assert (namespace, since) == ("default", START + 15.0)
    assert why == (
        "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) were unschedulable. preemption: 0/2 nodes are "
        "available: 2 Preemption is not helpful for scheduling."
    )
    lab.node(7, allocatable={"cpu": "16", "memory": "64Gi", "pods": "58"})
    lab.wait(30)
    assert lab.ready("big") == 1
    assert lab.kube.unschedulable() == []


def crowded(grace: int) -> Lab:
    """Four nodes, each filled by one pod of priority 0 that needs `grace` seconds to stop, and a class `high`."""
    lab = Lab(nodes=4)
    lab.world.create(
        "priorityclasses.scheduling.k8s.io",
        {"metadata": {"name": "high"}, "value": 1000, "kind": "PriorityClass", "apiVersion": "scheduling.k8s.io/v1"},
    )
    template = lab.template("low", cpu="3")
    template["spec"]["terminationGracePeriodSeconds"] = grace + 30
    template["spec"]["containers"][0]["lifecycle"] = {"preStop": {"sleep": {"seconds": grace}}}
    lab.deployment("low", 4, template)
    lab.wait(60)
    assert lab.ready("low") == 4
    return lab


def test_a_waiting_pod_preempts_on_one_node_only() -> None:
    """A pod that waits for its victims to stop would empty node after node, and the rehearsal predict an outage."""
    lab = crowded(120)
    lab.deployment("vip", 1, lab.template("vip", cpu="3", priorityClassName="high"))
    lab.wait(5)
    for name in ("noise-1", "noise-2"):  # what happens elsewhere makes the scheduler look again
        lab.bare(name)
        lab.wait(20)
    leaving = [p for p in lab.pods("low") if p["metadata"].get("deletionTimestamp")]
    assert len(leaving) == 1
    ((_, name, _, why),) = [u for u in lab.kube.unschedulable() if u[1].startswith("vip")]
    assert why.endswith("preemption: not eligible due to a terminating pod on the nominated node."), (name, why)
    lab.wait(120)
    assert lab.ready("vip") == 1


def test_room_made_by_preemption_is_kept_for_the_pod_it_was_made_for() -> None:
    """A pod that comes meanwhile would take the room and the other preempt again: more evictions than there will be."""
    lab = crowded(60)
    lab.deployment("vip", 1, lab.template("vip", cpu="3600m", priorityClassName="high"))
    lab.wait(5)
    (name,) = lab.kube.scheduling.state.nominees
    here = {"kubernetes.io/hostname": name}
    lab.deployment("late", 1, lab.template("late", cpu="500m", nodeSelector=here))  # there is room for it now
    lab.wait(120)
    assert (lab.ready("vip"), lab.ready("late")) == (1, 0)
    assert not lab.kube.scheduling.state.nominees


def test_a_pod_that_gives_up_waiting_keeps_no_room() -> None:
    """A workload that was scaled down would keep others from a node till the end of the rehearsal."""
    lab = crowded(60)
    made = lab.deployment("vip", 1, lab.template("vip", cpu="3", priorityClassName="high"))
    lab.wait(5)
    assert lab.kube.scheduling.state.nominees
    lab.change("deployments.apps", "vip", {**made["spec"], "replicas": 0})
    lab.wait(5)
    assert not lab.kube.scheduling.state.nominees


def test_preemption_heeds_what_budgets_allow_now() -> None:
    """Read as they were at the start, budgets would send a preempting pod to the wrong victim."""
    lab = crowded(1)
    lab.budget("low", maxUnavailable=1)
    lab.wait(5)
    read = lab.kube.scheduling.state.get("poddisruptionbudgets.policy", "default", "low")
    assert read is not None
    assert read["status"]["disruptionsAllowed"] == 1
    lab.kube.evict("default", lab.names("low")[0])
    lab.wait(0)
    read = lab.kube.scheduling.state.get("poddisruptionbudgets.policy", "default", "low")
    assert read is not None
    assert read["status"]["disruptionsAllowed"] == 0


def test_pod_of_higher_priority_takes_the_place_of_a_lower_one() -> None:
    """Preemption during a roll evicts workloads that no drain touched; a rehearsal must show it."""
    lab = Lab(nodes=1)
    lab.world.create(
        "priorityclasses.scheduling.k8s.io",
        {"metadata": {"name": "high"}, "value": 1000, "kind": "PriorityClass", "apiVersion": "scheduling.k8s.io/v1"},
    )
    lab.deployment("low", 1, lab.template("low", cpu="3"))
    lab.wait(10)
    lab.deployment("top", 1, lab.template("top", cpu="3", priorityClassName="high"))
    lab.wait(30)
    assert (lab.ready("top"), lab.ready("low")) == (1, 0)


def test_addons_install_report_health_and_roll() -> None:
    """UpdateAddon is judged by these workloads: healthy before, not during, then with the new image."""
    lab = Lab(nodes=3)
    for name, version in (
        ("vpc-cni", "v1.20.1-eksbuild.1"),
        ("kube-proxy", "v1.34.0-eksbuild.2"),
        ("coredns", "v1.12.3"),
    ):
        lab.kube.apply_addon(name, version)
    assert not lab.kube.addon_healthy("coredns")
    lab.wait(60)
    assert all(lab.kube.addon_healthy(a) for a in ("vpc-cni", "kube-proxy", "coredns"))
    lab.kube.apply_addon("kube-proxy", "v1.35.0-eksbuild.1")
    lab.wait(1)
    assert not lab.kube.addon_healthy("kube-proxy")
    lab.wait(120)
    assert lab.kube.addon_healthy("kube-proxy")
    images = {
        p["spec"]["containers"][0]["image"].rpartition(":")[2]
        for p in lab.world.items("pods", "kube-system")
        if p["metadata"]["labels"].get("k8s-app") == "kube-proxy"
    }
    assert images == {"v1.35.0-minimal-eksbuild.1"}


def test_addon_with_an_image_that_cannot_be_pulled_stays_unhealthy_and_keeps_the_old_pods() -> None:
    """A bad add-on version must degrade the update, not take DNS away."""
    lab = Lab(nodes=2)
    lab.kube.apply_addon("coredns", "v1.12.3")
    lab.wait(60)
    lab.kube.apply_addon("coredns", "v9.9.9", image_ok=False)
    lab.wait(300)
    assert not lab.kube.addon_healthy("coredns")
    running = [
        p
        for p in lab.world.items("pods", "kube-system")
        if p["status"]["phase"] == "Running" and p["spec"]["containers"][0]["image"].endswith("v1.12.3")
    ]
    assert running
    lab.kube.remove_addon("coredns")
    lab.wait(60)
    assert lab.world.count("pods") == 0


def test_leases_are_fresh_without_costing_events() -> None:
    """`kubectl get leases` must look alive, while an idle cluster of any size schedules nothing."""
    lab = Lab(nodes=3)
    lab.wait(400)
    before = lab.clock.processed
    lab.wait(3600)
    assert lab.clock.processed - before <= 1
    (lease, *_) = lab.kube.leases()
    assert lease["spec"]["renewTime"].startswith("2026-09-21T15:20:1")


def run_scene(seed: int, rehearsal: bool = False) -> list[tuple[float, str]]:
    base = TwinSettings()
    lab = Lab(base.for_rehearsal() if rehearsal else base, seed=seed, nodes=4)
    lab.watch("pods", "nodes", "deployments.apps", "poddisruptionbudgets.policy")
    lab.deployment("web", 6, lab.template("web", delay=3))
    lab.budget("web", minAvailable="60%")
    lab.statefulset("db", 3)
    lab.wait(60)
    for index in (0, 1):
        lab.kube.cordon(f"node-{index}")
        for pod in lab.kube.drain_pods(f"node-{index}"):
            lab.kube.evict("default", pod["metadata"]["name"])
        lab.wait(30)
        lab.kube.remove_node(f"node-{index}")
        lab.wait(60)
    return lab.log


def test_same_seed_same_timeline() -> None:
    """Rehearsals are compared run by run; a timeline that wobbles makes every comparison worthless."""
    assert run_scene(5) == run_scene(5)
    assert run_scene(5) != run_scene(6)


def test_rehearsal_settings_change_nothing_about_pods() -> None:
    """What a rehearsal leaves out (events, details) must not change what happens to pods and nodes, or when."""

    def moves(log: list[tuple[float, str]]) -> list[tuple[float, str]]:
        return [(at, what) for at, what in log if what.startswith(("ADDED pods", "DELETED")) or " nodes " in what]

    assert moves(run_scene(5)) == moves(run_scene(5, rehearsal=True))


def test_statuses_held_back_are_written_when_asked_for() -> None:
    """A rehearsal reads workloads only at its end; they must then say what is true."""
    lab = Lab(TwinSettings(timings=STEADY).for_rehearsal(), nodes=2)
    lab.deployment("web", 3)
    lab.budget("web", maxUnavailable=1)
    lab.daemonset("agent")
    lab.statefulset("db", 2)
    lab.wait(60)
    lab.kube.evict("default", lab.names("web")[0])
    lab.wait(60)
    lab.kube.refresh_status()
    assert lab.get("deployments.apps", "web")["status"]["availableReplicas"] == 3
    assert lab.get("daemonsets.apps", "agent")["status"]["numberReady"] == 2
    assert lab.get("statefulsets.apps", "db")["status"]["readyReplicas"] == 2
    assert lab.get("poddisruptionbudgets.policy", "web")["status"]["disruptionsAllowed"] == 1


def test_cluster_read_from_outside_is_taken_as_it_is() -> None:
    """Starting the twin over a snapshot must move nothing: no roll-out, no pod made or killed."""
    first = Lab(nodes=3)
    first.deployment("web", 4)
    first.statefulset("db", 2)
    first.daemonset("agent")
    first.budget("web", maxUnavailable=1)
    first.wait(120)
    clock = VirtualClock(first.clock.now())
    world = World(clock, Random(9))
    for resource in first.world.resources():
        for obj in first.world.items(resource):
            cut = obj
            if resource in ("deployments.apps", "statefulsets.apps", "daemonsets.apps"):  # as an anonymised snapshot
                spec = {**obj["spec"]["template"]["spec"], "containers": [{"name": "main", "image": "renamed"}]}
                cut = {**obj, "spec": {**obj["spec"], "template": {**obj["spec"]["template"], "spec": spec}}}
            world.create(resource, cut)
    kube = KubeTwin(clock, world, TwinSettings(timings=STEADY), Random(4))
    before = {p["metadata"]["uid"] for p in world.items("pods")}
    changes: list[str] = []
    world.subscribe(lambda type_, resource, obj, old: changes.append(type_), ["pods", "replicasets.apps"])
    kube.start()
    clock.run_until(clock.now() + 900)
    assert {p["metadata"]["uid"] for p in world.items("pods")} == before
    assert "ADDED" not in changes and "DELETED" not in changes


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    replicas=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    kinds=st.lists(st.sampled_from(["max1", "max0", "min50", "minall", "min1", "none"]), min_size=4, max_size=4),
    steps=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 40)), min_size=1, max_size=12),
)
def test_voluntary_evictions_never_break_a_budget_and_pods_are_conserved(
    seed: int, replicas: list[int], kinds: list[str], steps: list[tuple[int, int]]
) -> None:
    """The guarantee of every roll: healthy pods never fall below what the budget demands, and none is lost."""
    specs = {
        "max1": {"maxUnavailable": 1},
        "max0": {"maxUnavailable": 0},
        "min50": {"minAvailable": "50%"},
        "minall": {"minAvailable": "100%"},
        "min1": {"minAvailable": 1},
    }
    lab = Lab(TwinSettings(), seed=seed, nodes=4)
    for index, count in enumerate(replicas):
        lab.deployment(f"app{index}", count, lab.template(f"app{index}", delay=index * 3))
        if kinds[index] != "none":
            lab.budget(f"app{index}", **specs[kinds[index]])
    lab.wait(120)
    floors = {
        f"app{i}": b["status"]["desiredHealthy"]
        for i in range(len(replicas))
        if (b := lab.world.get("poddisruptionbudgets.policy", "default", f"app{i}")) is not None
    }

    def check(type_: str, resource: str, obj: dict, old: object) -> None:  # type: ignore[type-arg]
        app = obj["metadata"]["labels"]["app"]
        if app in floors and old is not None:
            assert lab.ready(app) >= floors[app], f"{app} fell below its budget at {lab.seconds}"

    lab.world.subscribe(check, ["pods"])
    for node, seconds in steps:
        lab.kube.cordon(f"node-{node}")
        for pod in lab.kube.drain_pods(f"node-{node}"):
            lab.kube.evict("default", pod["metadata"]["name"])
        lab.wait(seconds)
        lab.kube.cordon(f"node-{node}", False)
    lab.wait(300)
    assert [lab.ready(f"app{i}") for i in range(len(replicas))] == replicas
    assert lab.world.count("pods") == sum(replicas)


def test_workload_overrides_decide_how_long_pods_take() -> None:
    """Calibration from history works per workload: its own start, readiness and stop times must be used."""
    times = {"default/slow": PodTimes(start=exactly(30), ready=exactly(60), stop=exactly(25))}
    lab = Lab(TwinSettings(timings=STEADY, workloads=times), nodes=1)
    lab.deployment("slow", 1)
    lab.wait(89)
    assert lab.ready("slow") == 0
    lab.wait(2)
    assert lab.ready("slow") == 1
    (name,) = lab.names("slow")
    lab.kube.evict("default", name)
    lab.wait(24)
    assert name in lab.names("slow")
    lab.wait(2)
    assert name not in lab.names("slow")
