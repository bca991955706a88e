"""The twin's controllers: roll-outs, ordinals, daemons, jobs, volumes, endpoints, deletion, as in Kubernetes."""

from __future__ import annotations

from typing import Any

import pytest
from kube_lab import STEADY, Lab

from baton.twin.controllers.deployments import resolve
from baton.twin.controllers.garbage import resource_of
from baton.twin.controllers.templates import pod_spec, qos_class, same_template, template_hash
from baton.twin.kubelet import pre_stop
from baton.twin.timings import PodTimes, TwinSettings

Obj = dict[str, Any]


def sizes(lab: Lab, name: str) -> list[int]:
    """Pods of each revision that are neither leaving nor finished, oldest revision first."""
    found = []
    for rs in lab.world.items("replicasets.apps", "default"):
        pods = [p for p in lab.world.owned_by(rs["metadata"]["uid"]) if not p["metadata"].get("deletionTimestamp")]
        found.append(len(pods))
    return found


def is_ready(pod: Obj) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"]["conditions"])


# --- Deployments


def test_rolling_update_stays_within_surge_and_unavailable() -> None:
    """A roll-out that overshoots takes capacity that a real cluster would not give, or leaves too few running."""
    lab = Lab(nodes=3)
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}
    lab.deployment("web", 4, lab.template("web", delay=5), strategy=strategy)
    lab.wait(30)
    lab.change("deployments.apps", "web", {"template": lab.template("web", version="2", delay=5)})
    totals, ready = [], []
    for _ in range(120):
        lab.wait(1)
        totals.append(sum(sizes(lab, "web")))
        ready.append(lab.ready("web"))
    assert max(totals) == 5
    assert min(ready) == 3
    assert sizes(lab, "web") == [0, 4]
    status = lab.get("deployments.apps", "web")["status"]
    assert (status["updatedReplicas"], status["availableReplicas"], status["observedGeneration"]) == (4, 4, 2)
    assert status["conditions"][1]["reason"] == "NewReplicaSetAvailable"


def test_recreate_waits_until_the_old_pods_are_gone() -> None:
    """Two versions of a Recreate workload must never run side by side."""
    lab = Lab(nodes=2)
    lab.deployment("web", 2, strategy={"type": "Recreate"})
    lab.wait(20)
    lab.change("deployments.apps", "web", {"template": lab.template("web", version="2")})
    lab.wait(1.5)
    assert {p["spec"]["containers"][0]["image"] for p in lab.pods("web")} == {"web:1"}
    lab.wait(30)
    assert {p["spec"]["containers"][0]["image"] for p in lab.pods("web")} == {"web:2"}
    assert lab.ready("web") == 2


def test_rollback_reuses_the_old_replica_set_under_a_new_revision() -> None:
    """`kubectl rollout undo` must not make a third ReplicaSet."""
    lab = Lab(nodes=2)
    first = lab.template("web")
    lab.deployment("web", 2, first)
    lab.wait(20)
    lab.change("deployments.apps", "web", {"template": lab.template("web", version="2")})
    lab.wait(60)
    lab.change("deployments.apps", "web", {"template": first})
    lab.wait(60)
    sets = list(lab.world.items("replicasets.apps", "default"))
    revisions = [s["metadata"]["annotations"]["deployment.kubernetes.io/revision"] for s in sets]
    assert (revisions, sizes(lab, "web")) == (["3", "2"], [2, 0])


def test_scaling_down_takes_the_pods_that_matter_least() -> None:
    """Scaling down during a roll must prefer pods that are not ready, as Kubernetes does."""
    lab = Lab(nodes=2)
    lab.deployment("web", 3, lab.template("web", delay=60))
    lab.wait(120)
    (victim, *_) = lab.names("web")
    lab.kube.evict("default", victim)
    lab.wait(10)
    (young,) = [p["metadata"]["name"] for p in lab.pods("web") if not is_ready(p)]
    lab.change("deployments.apps", "web", {"replicas": 2})
    lab.wait(10)
    assert young not in lab.names("web")
    assert lab.ready("web") == 2


def test_paused_deployment_does_not_roll_but_scales() -> None:
    """A paused roll-out stays paused through an upgrade."""
    lab = Lab(nodes=2)
    lab.deployment("web", 1)
    lab.wait(20)
    lab.change("deployments.apps", "web", {"paused": True, "replicas": 3, "template": lab.template("web", version="2")})
    lab.wait(60)
    assert {p["spec"]["containers"][0]["image"] for p in lab.pods("web")} == {"web:1"}
    assert lab.ready("web") == 3


def test_complete_deployment_puts_right_what_others_change() -> None:
    """A Deployment that was complete once must still undo a ReplicaSet scaled by hand, and roll again."""
    lab = Lab(nodes=2)
    lab.deployment("web", 2)
    lab.wait(30)
    (owned,) = lab.world.items("replicasets.apps", "default")
    lab.change("replicasets.apps", owned["metadata"]["name"], {"replicas": 5})
    lab.wait(60)
    assert (sizes(lab, "web"), lab.ready("web")) == ([2], 2)
    lab.change("deployments.apps", "web", {"template": lab.template("web", version="2")})
    lab.wait(60)
    assert {p["spec"]["containers"][0]["image"] for p in lab.pods("web")} == {"web:2"}


def test_scaling_in_mid_roll_keeps_proportions() -> None:
    """A scale-up during a stuck roll-out is shared between old and new, as upstream shares it."""
    never = TwinSettings(timings=STEADY)
    lab = Lab(never, nodes=3)
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 2, "maxUnavailable": 2}}
    lab.deployment("web", 10, strategy=strategy)
    lab.wait(30)
    stuck = lab.template("web", version="2", nodeSelector={"no": "where"})
    lab.change("deployments.apps", "web", {"template": stuck})
    lab.wait(30)
    assert sizes(lab, "web") == [8, 4]
    lab.change("deployments.apps", "web", {"replicas": 20})
    lab.wait(30)
    assert sum(sizes(lab, "web")) == 22
    assert sizes(lab, "web")[0] in (14, 15)


def test_stalled_rollout_reports_its_deadline() -> None:
    """A roll-out that cannot go on must say so after progressDeadlineSeconds."""
    lab = Lab(nodes=1)
    lab.deployment("web", 1, progressDeadlineSeconds=60)
    lab.wait(30)
    lab.change("deployments.apps", "web", {"template": lab.template("web", version="2", nodeSelector={"no": "where"})})
    lab.wait(90)
    progressing = lab.get("deployments.apps", "web")["status"]["conditions"][1]
    assert (progressing["status"], progressing["reason"]) == ("False", "ProgressDeadlineExceeded")


def test_min_ready_seconds_delays_availability() -> None:
    """Availability that comes too early lets a roll-out outrun its own safety margin."""
    lab = Lab(nodes=1)
    lab.deployment("web", 1, minReadySeconds=30)
    lab.wait(20)
    assert lab.get("deployments.apps", "web")["status"].get("availableReplicas") is None
    lab.wait(30)
    assert lab.get("deployments.apps", "web")["status"]["availableReplicas"] == 1


# --- StatefulSets


def test_statefulset_starts_in_order_one_after_the_other() -> None:
    """Quorum systems break when a later ordinal comes up before an earlier one is ready."""
    lab = Lab(nodes=3)
    lab.watch("pods")
    lab.statefulset("db", 3, lab.template("db", delay=5))
    lab.wait(60)
    added = [(at, what) for at, what in lab.log if what.startswith("ADDED")]
    assert added == [(15.0, "ADDED pods db-0"), (23.0, "ADDED pods db-1"), (31.0, "ADDED pods db-2")]


def test_parallel_statefulset_starts_at_once() -> None:
    """podManagementPolicy: Parallel is how people shorten rolls; the twin must honour it."""
    lab = Lab(nodes=3)
    lab.watch("pods")
    lab.statefulset("db", 3, podManagementPolicy="Parallel")
    lab.wait(60)
    assert [at for at, what in lab.log if what.startswith("ADDED")] == [15.0, 15.0, 15.0]


def test_statefulset_update_goes_from_the_highest_ordinal_down() -> None:
    """The last ordinal is the canary; the first one (often the leader) goes last."""
    lab = Lab(nodes=3)
    lab.statefulset("db", 3)
    lab.wait(60)
    lab.watch("pods")
    lab.change("statefulsets.apps", "db", {"template": lab.template("db", version="2")})
    lab.wait(60)
    assert [what for _, what in lab.log if what.startswith("DELETED")] == [
        "DELETED pods db-2",
        "DELETED pods db-1",
        "DELETED pods db-0",
    ]
    status = lab.get("statefulsets.apps", "db")["status"]
    assert status["currentRevision"] == status["updateRevision"]


def test_partition_keeps_lower_ordinals_on_the_old_revision() -> None:
    """A partitioned roll-out must survive its pods being evicted: they come back on their own revision."""
    lab = Lab(nodes=3)
    lab.statefulset("db", 3, updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 2}})
    lab.wait(60)
    lab.change("statefulsets.apps", "db", {"template": lab.template("db", version="2")})
    lab.wait(60)
    revisions = {p["metadata"]["name"]: p["metadata"]["labels"]["controller-revision-hash"] for p in lab.pods("db")}
    assert revisions["db-0"] == revisions["db-1"] != revisions["db-2"]


def test_statefulset_pod_on_a_dead_node_is_not_replaced_until_the_node_goes() -> None:
    """Two pods of one ordinal could corrupt data: this wait is the real reason many rolls hang."""
    lab = Lab(nodes=2)
    lab.statefulset("db", 1)
    lab.wait(20)
    node = lab.get("pods", "db-0")["spec"]["nodeName"]
    lab.kube.node_unreachable(node)
    lab.wait(1000)
    stuck = lab.get("pods", "db-0")
    assert stuck["metadata"]["deletionTimestamp"] and stuck["spec"]["nodeName"] == node
    lab.kube.remove_node(node)
    lab.wait(20)
    assert lab.get("pods", "db-0")["spec"]["nodeName"] != node
    assert lab.ready("db") == 1


def test_scaling_a_statefulset_down_goes_in_reverse_order() -> None:
    """The highest ordinal leaves first, and the next only when it is gone."""
    lab = Lab(nodes=2)
    lab.statefulset("db", 3)
    lab.wait(60)
    lab.watch("pods")
    lab.change("statefulsets.apps", "db", {"replicas": 1})
    lab.wait(30)
    gone = [(what.split()[-1], at) for at, what in lab.log if what.startswith("DELETED")]
    assert gone == [("db-2", 77.0), ("db-1", 79.0)]


# --- DaemonSets


def test_daemonset_runs_on_every_node_that_joins() -> None:
    """A CNI that tolerates everything lands before the node is ready; others wait for the not-ready taint to go."""
    lab = Lab(nodes=2)
    lab.daemonset("agent")
    lab.daemonset("cni", lab.template("cni", tolerations=[{"operator": "Exists"}]))
    lab.wait(10)
    lab.node(5)
    lab.wait(4)
    assert sorted(p["spec"]["nodeName"] for p in lab.pods("agent")) == ["node-0", "node-1"]
    assert (lab.ready("cni"), lab.ready("agent")) == (3, 2)
    lab.wait(20)
    assert lab.ready("agent") == 3
    status = lab.get("daemonsets.apps", "agent")["status"]
    assert (status["desiredNumberScheduled"], status["numberReady"]) == (3, 3)


def test_daemonset_respects_selectors_and_taints() -> None:
    """A daemon on a node it does not belong on takes room that the plan gave to others."""
    lab = Lab()
    lab.node(0, labels={"gpu": "yes"})
    lab.node(1)
    lab.node(2, taints=[{"key": "team", "value": "a", "effect": "NoSchedule"}])
    lab.wait(15)
    lab.daemonset("gpu", lab.template("gpu", nodeSelector={"gpu": "yes"}))
    lab.daemonset("agent")
    lab.wait(10)
    assert [p["spec"]["nodeName"] for p in lab.pods("gpu")] == ["node-0"]
    assert sorted(p["spec"]["nodeName"] for p in lab.pods("agent")) == ["node-0", "node-1"]


def test_daemonset_update_keeps_max_unavailable() -> None:
    """An add-on roll must not take the daemon from more nodes at once than it says."""
    lab = Lab(nodes=6)
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}}
    lab.daemonset("agent", lab.template("agent", delay=5), updateStrategy=rolling)
    lab.wait(30)
    lab.change("daemonsets.apps", "agent", {"template": lab.template("agent", version="2", delay=5)})
    lowest = 6
    for _ in range(60):
        lab.wait(1)
        lowest = min(lowest, lab.ready("agent"))
    assert lowest == 4
    assert {p["spec"]["containers"][0]["image"] for p in lab.pods("agent")} == {"agent:2"}
    assert lab.get("daemonsets.apps", "agent")["status"]["updatedNumberScheduled"] == 6


def test_on_delete_daemonset_changes_only_pods_that_are_replaced() -> None:
    """OnDelete daemons stay on the old version through an add-on change until their node is replaced."""
    lab = Lab(nodes=2)
    lab.daemonset("agent", updateStrategy={"type": "OnDelete"})
    lab.wait(20)
    lab.change("daemonsets.apps", "agent", {"template": lab.template("agent", version="2")})
    lab.wait(60)
    assert {p["spec"]["containers"][0]["image"] for p in lab.pods("agent")} == {"agent:1"}
    lab.kube.evict("default", lab.names("agent")[0])
    lab.wait(20)
    assert {p["spec"]["containers"][0]["image"] for p in lab.pods("agent")} == {"agent:1", "agent:2"}


# --- Jobs


def test_job_runs_to_completion_and_an_evicted_pod_is_made_again() -> None:
    """Evicting a batch pod costs its work but not the job; the report counts both."""
    lab = Lab(nodes=2)
    lab.job("batch", completions=2, parallelism=1)
    lab.wait(10)
    (first,) = lab.names("batch")
    lab.kube.evict("default", first)
    lab.wait(80)
    status = lab.get("jobs.batch", "batch")["status"]
    assert (status["succeeded"], status["failed"]) == (2, 1)
    assert status["conditions"][0]["type"] == "Complete"


def test_job_gives_up_after_its_backoff_limit() -> None:
    """A job that is evicted once too often fails for good: a rehearsal must say so."""
    lab = Lab(nodes=1)
    lab.job("batch", backoffLimit=0)
    lab.wait(10)
    lab.kube.evict("default", lab.names("batch")[0])
    lab.wait(30)
    condition = lab.get("jobs.batch", "batch")["status"]["conditions"][0]
    assert (condition["type"], condition["reason"]) == ("Failed", "BackoffLimitExceeded")


# --- volumes


def storage_class(lab: Lab, mode: str) -> None:
    lab.world.create(
        "storageclasses.storage.k8s.io",
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": "gp3"},
            "provisioner": "ebs.csi.aws.com",
            "reclaimPolicy": "Delete",
            "volumeBindingMode": mode,
        },
    )


CLAIM = {
    "metadata": {"name": "data"},
    "spec": {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "gp3",
        "resources": {"requests": {"storage": "5Gi"}},
    },
}


def test_claim_waits_for_its_first_consumer_and_then_ties_it_to_the_zone() -> None:
    """A zonal volume pins its pod: when the last node of the zone drains, the pod pends. Rehearsals hinge on it."""
    lab = Lab(nodes=3)
    storage_class(lab, "WaitForFirstConsumer")
    lab.statefulset("db", 1, volumeClaimTemplates=[CLAIM])
    lab.wait(30)
    claim = lab.get("persistentvolumeclaims", "data-db-0")
    assert claim["status"]["phase"] == "Bound"
    volume = lab.world.get("persistentvolumes", None, claim["spec"]["volumeName"])
    node = lab.get("pods", "db-0")["spec"]["nodeName"]
    zone = lab.world.get("nodes", None, node)["metadata"]["labels"]["topology.kubernetes.io/zone"]  # type: ignore[index]
    terms = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]  # type: ignore[index]
    assert terms[0]["matchExpressions"][0]["values"] == [zone]
    lab.kube.cordon(node)
    lab.kube.evict("default", "db-0")
    lab.wait(60)
    assert lab.get("pods", "db-0")["spec"].get("nodeName") is None
    lab.node(9, zone=zone)
    lab.wait(60)
    assert lab.get("pods", "db-0")["spec"]["nodeName"] == "node-9"


def test_deleted_claim_takes_its_volume_along() -> None:
    """Volumes left behind cost money and block zones; reclaimPolicy decides."""
    lab = Lab(nodes=1)
    storage_class(lab, "Immediate")
    lab.world.create(
        "persistentvolumeclaims",
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            **CLAIM,
            "metadata": {"name": "data", "namespace": "default"},
        },
    )
    lab.wait(1)
    assert lab.world.count("persistentvolumes") == 1
    lab.kube.delete("persistentvolumeclaims", "default", "data")
    lab.wait(1)
    assert lab.world.count("persistentvolumes") == 0


# --- endpoints


def test_endpoints_follow_readiness() -> None:
    """Traffic goes where EndpointSlices say: a terminating pod must not be ready there."""
    lab = Lab(nodes=2)
    lab.world.create(
        "services",
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
        },
    )
    lab.deployment("web", 2, lab.template("web", delay=5))
    lab.wait(30)
    (slice_,) = lab.world.items("endpointslices.discovery.k8s.io", "default")
    assert [e["conditions"]["ready"] for e in slice_["endpoints"]] == [True, True]
    lab.kube.evict("default", lab.names("web")[0])
    lab.wait(1)
    (slice_,) = lab.world.items("endpointslices.discovery.k8s.io", "default")
    assert sorted(e["conditions"]["ready"] for e in slice_["endpoints"]) == [False, True]
    assert len(lab.get("endpoints", "web")["subsets"][0]["addresses"]) == 1


# --- deletion


def test_deleting_a_deployment_takes_everything_with_it() -> None:
    """`kubectl delete deployment` cascades to ReplicaSets and pods, with their grace."""
    lab = Lab(nodes=1)
    lab.deployment("web", 2)
    lab.wait(20)
    lab.kube.delete("deployments.apps", "default", "web")
    lab.wait(1)
    assert all(p["metadata"]["deletionTimestamp"] for p in lab.pods("web"))
    lab.wait(5)
    assert lab.pods("web") == [] and lab.world.count("replicasets.apps") == 0


def test_orphan_deletion_leaves_the_pods_alone() -> None:
    """--cascade=orphan is used to swap controllers without downtime."""
    lab = Lab(nodes=1)
    lab.deployment("web", 2)
    lab.wait(20)
    lab.kube.delete("deployments.apps", "default", "web", propagation="Orphan")
    lab.wait(60)
    assert lab.ready("web") == 2
    assert lab.world.count("replicasets.apps") == 1


def test_foreground_deletion_waits_for_the_dependents() -> None:
    """kubectl delete --cascade=foreground shows the owner until its pods are gone."""
    lab = Lab(nodes=1)
    lab.deployment("web", 1)
    lab.wait(20)
    lab.kube.delete("deployments.apps", "default", "web", propagation="Foreground")
    lab.wait(1)
    assert lab.get("deployments.apps", "web")["metadata"]["deletionTimestamp"]
    lab.wait(10)
    assert lab.world.get("deployments.apps", "default", "web") is None


def test_deleting_a_namespace_empties_it_first() -> None:
    """A namespace stays Terminating until the last pod's grace is over."""
    lab = Lab(nodes=1)
    lab.world.create(
        "namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}, "spec": {}}
    )
    lab.deployment("web", 1)
    lab.budget("web", maxUnavailable=0)
    lab.wait(20)
    lab.kube.delete("namespaces", None, "default")
    lab.wait(1)
    assert lab.world.get("namespaces", None, "default")["status"]["phase"] == "Terminating"  # type: ignore[index]
    lab.wait(10)
    assert lab.world.get("namespaces", None, "default") is None
    assert lab.world.count("pods") == lab.world.count("deployments.apps") == 0


# --- kubelet


def test_grace_period_cuts_a_stop_that_takes_too_long() -> None:
    """A pod that ignores SIGTERM goes after terminationGracePeriodSeconds, not later; preStop counts into it."""
    lab = Lab(nodes=1)
    hook = {"preStop": {"exec": {"command": ["sh", "-c", "sleep 300"]}}}
    template = lab.template("web", terminationGracePeriodSeconds=40)
    template["spec"]["containers"][0]["lifecycle"] = hook
    lab.deployment("web", 1, template)
    lab.wait(20)
    (name,) = lab.names("web")
    lab.kube.evict("default", name)
    lab.wait(39)
    assert name in lab.names("web")
    lab.wait(1)
    assert name not in lab.names("web")


@pytest.mark.parametrize(
    ("hook", "seconds"),
    [
        ({"sleep": {"seconds": 15}}, 15.0),
        ({"exec": {"command": ["sleep", "20"]}}, 20.0),
        ({"exec": {"command": ["sh", "-c", "echo bye; sleep 5s"]}}, 5.0),
        ({"exec": {"command": ["/stop"]}}, 0.0),
        ({"httpGet": {"path": "/drain"}}, 0.0),
    ],
)
def test_pre_stop_sleeps_are_read_from_the_hook(hook: Obj, seconds: float) -> None:
    """preStop sleeps are what makes drains of web tiers slow; a rehearsal that misses them is optimistic."""
    assert pre_stop({"lifecycle": {"preStop": hook}}) == seconds


def test_pod_that_never_gets_ready_stays_running_and_unready() -> None:
    """A broken release must show up as unready, not as pending."""
    lab = Lab(TwinSettings(timings=STEADY, workloads={"default/web": PodTimes(never_ready=True)}), nodes=1)
    lab.deployment("web", 1)
    lab.wait(600)
    (pod,) = lab.pods("web")
    assert pod["status"]["phase"] == "Running" and lab.ready("web") == 0


def test_events_tell_a_pods_story_in_order() -> None:
    """`kubectl get events` during a roll is how people follow along."""
    lab = Lab(nodes=1)
    lab.deployment("web", 1)
    lab.wait(20)
    (name,) = lab.names("web")
    lab.kube.evict("default", name)
    lab.wait(1)
    mine = [e for e in lab.world.items("events", "default") if e["involvedObject"]["name"] == name]
    assert [e["reason"] for e in mine] == ["Scheduled", "Pulling", "Pulled", "Created", "Started", "Killing"]
    lab.wait(7200)
    lab.kube.evict("default", lab.names("web")[0])
    lab.wait(1)
    assert not [e for e in lab.world.items("events", "default") if e["involvedObject"]["name"] == name]


def test_repeated_events_are_counted_not_repeated() -> None:
    """Hours of FailedScheduling must be one line with a count, or the event list grows without bound."""
    lab = Lab(nodes=1)
    lab.deployment("big", 1, lab.template("big", cpu="99"))
    lab.wait(1200)
    (event,) = [e for e in lab.world.items("events", "default") if e["reason"] == "FailedScheduling"]
    assert event["series"]["count"] >= 3  # the scheduler records through events.k8s.io


# --- small pure parts


def test_templates_compare_without_their_hash_label() -> None:
    """A ReplicaSet's template carries an extra label; not seeing past it would start a roll-out at every read."""
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}}
    hashed = {
        "metadata": {"labels": {"app": "web", "pod-template-hash": "abc"}, "creationTimestamp": None},
        "spec": {"containers": []},
    }
    assert same_template(template, hashed)
    assert not same_template(template, {**hashed, "spec": {"containers": [{"name": "x"}]}})
    assert template_hash(template) == template_hash({**template}) and len(template_hash(template)) == 10


@pytest.mark.parametrize(
    ("containers", "expected"),
    [
        ([{}], "BestEffort"),
        ([{"resources": {"requests": {"cpu": "1"}}}], "Burstable"),
        ([{"resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}], "Guaranteed"),
        ([{"resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}}], "Burstable"),
    ],
)
def test_quality_of_service_class(containers: list[Obj], expected: str) -> None:
    """kubectl describe shows it, and people look for BestEffort pods before a roll."""
    assert qos_class({"containers": containers}) == expected


def test_pod_spec_fills_in_priority_and_tolerations() -> None:
    """Without the default tolerations a node's hiccup would kill pods at once; without priority nothing preempts."""
    classes = {
        "high": {"metadata": {"name": "high"}, "value": 7, "preemptionPolicy": "Never"},
        "base": {"metadata": {"name": "base"}, "value": 2, "globalDefault": True},
    }
    named = pod_spec({"priorityClassName": "high"}, classes)
    assert (named["priority"], named["preemptionPolicy"]) == (7, "Never")
    plain = pod_spec({}, classes)
    assert (plain["priority"], plain["priorityClassName"]) == (2, "base")
    assert [t["tolerationSeconds"] for t in plain["tolerations"]] == [300, 300]
    assert pod_spec({"tolerations": [{"operator": "Exists"}]}, {})["tolerations"] == [{"operator": "Exists"}]


@pytest.mark.parametrize(
    ("value", "total", "up", "expected"),
    [("25%", 3, True, 1), ("25%", 3, False, 0), (2, 3, True, 2), ("x", 3, True, 0), ("100%", 3, False, 3)],
)
def test_surge_rounds_up_and_unavailable_down(value: int | str, total: int, up: bool, expected: int) -> None:
    """The two percentages of a Deployment round in opposite directions."""
    assert resolve(value, total, up=up) == expected


@pytest.mark.parametrize(
    ("version", "kind", "resource"),
    [
        ("v1", "Pod", "pods"),
        ("apps/v1", "ReplicaSet", "replicasets.apps"),
        ("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies.networking.k8s.io"),
        ("storage.k8s.io/v1", "StorageClass", "storageclasses.storage.k8s.io"),
        ("v1", "Endpoints", "endpoints"),
        ("gateway.networking.k8s.io/v1", "Gateway", "gateways.gateway.networking.k8s.io"),
    ],
)
def test_resource_names_from_kinds(version: str, kind: str, resource: str) -> None:
    """Cascading deletion finds dependents by this name; a wrong plural leaves them behind."""
    assert resource_of({"apiVersion": version, "kind": kind}) == resource
