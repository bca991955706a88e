"""The real kubectl against the emulator: what its users type, and the words they see."""

from __future__ import annotations

import json
import re

import pytest
from kube_served import Served, budget, deployment

pytestmark = [pytest.mark.kubectl, pytest.mark.xdist_group("served")]


def rows(text: str) -> list[list[str]]:
    return [re.split(r"\s{2,}", line.strip()) for line in text.splitlines() if line.strip()]


def first_node(served: Served, namespace: str, app: str) -> str:
    return served.kubectl(
        "get", "pods", "-n", namespace, "-l", f"app={app}", "-o", "jsonpath={.items[0].spec.nodeName}"
    )


def test_get_nodes_prints_the_columns_of_an_eks_cluster(served: Served) -> None:
    """The first command anybody types: names, Ready, roles, an age in cluster time and the EKS kubelet version."""
    head, *nodes = rows(served.kubectl("get", "nodes"))
    assert head == ["NAME", "STATUS", "ROLES", "AGE", "VERSION"]
    assert len(nodes) == 3
    for name, status, roles, age, version in nodes:
        assert re.fullmatch(r"ip-10-0-\d+-\d+\.ec2\.internal", name)
        assert (status, roles) == ("Ready", "<none>")
        assert re.fullmatch(r"\d+[smhd](\d+[smh])?", age)
        assert re.fullmatch(r"v1\.34\.\d+-eks-[0-9a-f]{7}", version)


def test_new_cluster_holds_what_eks_puts_there(served: Served) -> None:
    """Charts and scripts expect the namespaces, the services and the storage class of every EKS cluster."""
    names = served.kubectl("get", "ns", "-o", "name").split()
    assert {f"namespace/{n}" for n in ("default", "kube-node-lease", "kube-public", "kube-system")} <= set(names)
    service = served.kubectl("get", "svc", "-n", "kube-system", "kube-dns", "--no-headers")
    assert rows(service)[0][:5] == ["kube-dns", "ClusterIP", "172.20.0.10", "<none>", "53/UDP,53/TCP,9153/TCP"]
    assert "storageclass.storage.k8s.io/gp2" in served.kubectl("get", "sc", "-o", "name")
    assert served.kubectl("get", "sa", "default", "-o", "name").strip() == "serviceaccount/default"


def test_apply_rolls_out_and_a_second_apply_changes_nothing(served: Served) -> None:
    """`kubectl apply` in a pipeline must say created, then unchanged, then configured."""
    space = served.fresh_namespace()
    assert served.apply(deployment("web"), namespace=space) == "deployment.apps/web created\n"
    said = served.kubectl("rollout", "status", "deploy/web", "-n", space)
    assert said.splitlines()[-1] == 'deployment "web" successfully rolled out'
    assert served.apply(deployment("web"), namespace=space) == "deployment.apps/web unchanged\n"
    assert served.apply(deployment("web", 4), namespace=space) == "deployment.apps/web configured\n"


def test_rollout_history_undo_and_restart(served: Served) -> None:
    """Revisions must count as on a real cluster, or `rollout undo` in an incident goes to the wrong one."""
    space = served.fresh_namespace()
    served.apply(deployment("web"), namespace=space)
    served.kubectl("rollout", "status", "deploy/web", "-n", space)
    served.kubectl("set", "image", "deploy/web", "web=web:2", "-n", space)
    served.kubectl("rollout", "status", "deploy/web", "-n", space)
    history = served.kubectl("rollout", "history", "deploy/web", "-n", space)
    assert history.split() == ["deployment.apps/web", "REVISION", "CHANGE-CAUSE", "1", "<none>", "2", "<none>"]
    assert served.kubectl("rollout", "undo", "deploy/web", "-n", space) == "deployment.apps/web rolled back\n"
    served.kubectl("rollout", "status", "deploy/web", "-n", space)
    history = served.kubectl("rollout", "history", "deploy/web", "-n", space)
    assert [line.split()[0] for line in history.splitlines()[2:] if line] == ["2", "3"]
    image = served.kubectl(
        "get", "deploy", "web", "-n", space, "-o", "jsonpath={.spec.template.spec.containers[0].image}"
    )
    assert image == "web:1"
    assert "restarted" in served.kubectl("rollout", "restart", "deploy/web", "-n", space)
    served.kubectl("rollout", "status", "deploy/web", "-n", space)


def test_drain_against_a_blocking_budget_says_what_a_real_cluster_says(served: Served) -> None:
    """The words that people search for when a drain hangs."""
    space = served.fresh_namespace()
    served.apply(deployment("held"), budget("held", minAvailable=3), namespace=space)
    served.kubectl("rollout", "status", "deploy/held", "-n", space)
    node = first_node(served, space, "held")
    pod = served.kubectl(
        "get", "pods", "-n", space, f"--field-selector=spec.nodeName={node}", "-o", "jsonpath={.items[0].metadata.name}"
    )
    try:
        code, out, error = served.run(
            "kubectl", "drain", node, "--ignore-daemonsets", "--pod-selector=app=held", "--timeout=1s"
        )
    finally:
        uncordoned = served.kubectl("uncordon", node)
        served.kubectl("delete", "ns", space, "--wait=false")
    assert code == 1
    assert out.splitlines()[0] == f"node/{node} cordoned"
    assert f"evicting pod {space}/{pod}" in out
    assert (
        f'error when evicting pods/"{pod}" -n "{space}" (will retry after 5s): '
        "Cannot evict pod as it would violate the pod's disruption budget."
    ) in error
    assert f'error when evicting pods/"{pod}" -n "{space}": global timeout reached: 1s' in error
    assert uncordoned == f"node/{node} uncordoned\n"


def test_drain_moves_the_pods_and_leaves_daemonsets(served: Served) -> None:
    """A drain that works: cordoned, each pod evicted, drained; DaemonSet pods are named as ignored."""
    space = served.fresh_namespace()
    served.apply(deployment("free"), budget("free", maxUnavailable=1), namespace=space)
    served.kubectl("rollout", "status", "deploy/free", "-n", space)
    node = first_node(served, space, "free")
    refused = served.kubectl("drain", node, "--timeout=5s", ok=1)
    assert f"node/{node} cordoned" in refused
    assert re.search(
        r"cannot delete DaemonSet-managed Pods \(use --ignore-daemonsets to ignore\): kube-system/aws-node-", refused
    )
    served.kubectl("uncordon", node)
    code, out, error = served.run("kubectl", "drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force")
    served.kubectl("uncordon", node)
    assert code == 0, error
    assert out.splitlines()[0] == f"node/{node} cordoned"
    assert out.splitlines()[-1] == f"node/{node} drained"
    assert re.search(
        r"Warning: ignoring DaemonSet-managed Pods: kube-system/aws-node-\w+, kube-system/kube-proxy-", error
    )
    assert re.search(r"pod/free-\w+-\w+ evicted", out)
    left = json.loads(served.kubectl("get", "pods", "-A", f"--field-selector=spec.nodeName={node}", "-o", "json"))
    assert {p["metadata"]["ownerReferences"][0]["kind"] for p in left["items"]} == {"DaemonSet"}


def test_cordon_shows_in_status_taint_and_events(served: Served) -> None:
    """Whoever looks at nodes during an upgrade must see SchedulingDisabled and the taint behind it."""
    node = rows(served.kubectl("get", "nodes"))[1][0]
    assert served.kubectl("cordon", node) == f"node/{node} cordoned\n"
    try:
        assert served.kubectl("cordon", node) == f"node/{node} already cordoned\n"
        assert rows(served.kubectl("get", "node", node))[1][1] == "Ready,SchedulingDisabled"
        told = served.kubectl("describe", "node", node)
        assert re.search(r"^Taints: +node\.kubernetes\.io/unschedulable:NoSchedule$", told, re.M)
        assert re.search(r"^Unschedulable: +true$", told, re.M)
        assert re.search(r"NodeNotSchedulable +\d\w+( \(x\d+ over \w+\))? +kubelet ", told)
    finally:
        served.kubectl("uncordon", node)


def test_describe_computes_ages_in_cluster_time(served: Served) -> None:
    """`kubectl describe` subtracts from the wall clock; with cluster time ahead it would print <invalid>."""
    node = rows(served.kubectl("get", "nodes"))[1][0]
    for text in (
        served.kubectl("describe", "node", node),
        served.kubectl("describe", "pods", "-n", "kube-system"),
        served.kubectl("events", "-A"),
    ):
        assert "<invalid>" not in text
    shown = served.kubectl("get", "node", node, "-o", "jsonpath={.metadata.creationTimestamp}")
    assert shown == served.running.call(
        lambda: served.running.emulator.twin.kube("demo").world.get("nodes", None, node)["metadata"][
            "creationTimestamp"
        ]
    )


def test_top_counts_nodes_and_pods(served: Served) -> None:
    """`kubectl top` needs metrics.k8s.io with usage below what nodes have."""
    head, *nodes = rows(served.kubectl("top", "nodes"))
    assert head == ["NAME", "CPU(cores)", "CPU(%)", "MEMORY(bytes)", "MEMORY(%)"]
    assert len(nodes) == 3
    assert all(0 < int(n[2].rstrip("%")) < 100 and 0 < int(n[4].rstrip("%")) < 100 for n in nodes)
    head, *pods = rows(served.kubectl("top", "pods", "-n", "kube-system"))
    assert head == ["NAME", "CPU(cores)", "MEMORY(bytes)"]
    assert any(p[0].startswith("coredns-") and p[1].endswith("m") and p[2].endswith("Mi") for p in pods)


def test_delete_waits_until_the_object_is_gone(served: Served) -> None:
    """`kubectl delete` waits by a watch on the object; a lost DELETED event would hang every script."""
    space = served.fresh_namespace()
    served.apply(deployment("web"), namespace=space)
    assert served.kubectl("delete", "deploy", "web", "-n", space) == 'deployment.apps "web" deleted\n'
    assert "NotFound" in served.kubectl("get", "deploy", "web", "-n", space, ok=1)
    assert served.kubectl("delete", "ns", space) == f'namespace "{space}" deleted\n'


def test_create_commands_that_send_protobuf(served: Served) -> None:
    """`kubectl create` and `run` send protobuf whatever the server prefers; all of it must arrive."""
    space = served.fresh_namespace()
    for words, said in (
        ("deployment web --image=web:1 --replicas=2 --port=80", "deployment.apps/web created"),
        ("configmap settings --from-literal=a=b", "configmap/settings created"),
        ("secret generic keys --from-literal=a=b", "secret/keys created"),
        ("serviceaccount bot", "serviceaccount/bot created"),
        ("pdb web --selector=app=web --min-available=50%", "poddisruptionbudget.policy/web created"),
        ("quota most --hard=pods=9,requests.cpu=4", "resourcequota/most created"),
        ("job once --image=x:1", "job.batch/once created"),
        ("cronjob often --image=x:1 --schedule=@hourly", "cronjob.batch/often created"),
        ("role reader --verb=get --resource=pods", "role.rbac.authorization.k8s.io/reader created"),
        ("ingress way --rule=a.example/b=web:80", "ingress.networking.k8s.io/way created"),
    ):
        assert served.kubectl("create", *words.split(), "-n", space).strip() == said
    served.kubectl("rollout", "status", "deploy/web", "-n", space)
    found = json.loads(served.kubectl("get", "deploy,cm,secret,pdb,quota,cj,ing", "-n", space, "-o", "json"))["items"]
    made = {(o["kind"], o["metadata"]["name"]): o for o in found}
    spec = made["Deployment", "web"]["spec"]
    assert spec["replicas"] == 2
    assert spec["template"]["spec"]["containers"][0]["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
    assert made["ConfigMap", "settings"]["data"] == {"a": "b"}
    assert (made["Secret", "keys"]["data"], made["Secret", "keys"]["type"]) == ({"a": "Yg=="}, "Opaque")
    assert made["PodDisruptionBudget", "web"]["spec"]["minAvailable"] == "50%"
    assert made["ResourceQuota", "most"]["spec"]["hard"] == {"pods": "9", "requests.cpu": "4"}
    assert made["CronJob", "often"]["spec"]["schedule"] == "@hourly"
    backend = made["Ingress", "way"]["spec"]["rules"][0]["http"]["paths"][0]["backend"]
    assert backend == {"service": {"name": "web", "port": {"number": 80}}}


def test_scale_wait_label_annotate_taint_and_patch(served: Served) -> None:
    """The small commands of runbooks."""
    space = served.fresh_namespace()
    served.apply(deployment("web"), namespace=space)
    assert served.kubectl("scale", "deploy/web", "--replicas=5", "-n", space) == "deployment.apps/web scaled\n"
    waited = served.kubectl("wait", "--for=jsonpath={.status.readyReplicas}=5", "deploy/web", "-n", space)
    assert waited == "deployment.apps/web condition met\n"
    assert served.kubectl("label", "deploy/web", "team=a", "-n", space) == "deployment.apps/web labeled\n"
    assert served.kubectl("annotate", "deploy/web", "why=x", "-n", space) == "deployment.apps/web annotated\n"
    patched = served.kubectl("patch", "deploy", "web", "-n", space, "-p", '{"spec":{"replicas":2}}')
    assert patched == "deployment.apps/web patched\n"
    node = rows(served.kubectl("get", "nodes"))[1][0]
    assert served.kubectl("taint", "node", node, "a=b:NoSchedule") == f"node/{node} tainted\n"
    assert served.kubectl("taint", "node", node, "a-") == f"node/{node} untainted\n"


def test_server_side_apply_and_diff(served: Served) -> None:
    """GitOps tools apply on the server side; diff ends with 1 where something would change."""
    space = served.fresh_namespace()
    body = json.dumps(deployment("web"))
    said = served.kubectl("apply", "--server-side", "-n", space, "-f", "-", stdin=body)
    assert said == "deployment.apps/web serverside-applied\n"
    more = json.dumps(deployment("web", 4))
    difference = served.kubectl("diff", "--server-side", "-n", space, "-f", "-", stdin=more, ok=1)
    assert "-  replicas: 3" in difference and "+  replicas: 4" in difference


def test_auth_can_i_and_whoami(served: Served) -> None:
    """Preflight scripts ask what they may do."""
    assert served.kubectl("auth", "can-i", "create", "pods").strip() == "yes"
    assert "kubernetes-admin" in served.kubectl("auth", "whoami")


def test_logs_and_exec_are_refused_politely(served: Served) -> None:
    """There are no containers to read logs from: the answer must say so and not look like a broken cluster."""
    space = served.fresh_namespace()
    served.apply(deployment("web", 1), namespace=space)
    served.kubectl("rollout", "status", "deploy/web", "-n", space)
    assert "the emulator runs no containers" in served.kubectl("logs", "deploy/web", "-n", space, ok=1)
    assert "the emulator runs no containers" in served.kubectl("exec", "deploy/web", "-n", space, "--", "ls", ok=1)


def test_discovery_answers_api_resources_versions_and_raw(served: Served) -> None:
    """Discovery is the first thing every client reads."""
    resources = served.kubectl("api-resources", "--no-headers", "-o", "name").split()
    assert {"nodes", "pods", "deployments.apps", "poddisruptionbudgets.policy", "leases.coordination.k8s.io"} <= set(
        resources
    )
    assert "apps/v1" in served.kubectl("api-versions").split()
    assert served.kubectl("get", "--raw", "/healthz") == "ok"
    version = json.loads(served.kubectl("version", "-o", "json"))["serverVersion"]
    assert (version["major"], version["minor"]) == ("1", "34")


def test_update_kubeconfig_and_get_token_let_kubectl_in(served: Served) -> None:
    """The way every EKS user logs in: `aws eks update-kubeconfig`, then kubectl runs `aws eks get-token`."""
    from kube_served import tool

    aws = tool("aws")
    config = served.folder / "from-aws.yaml"
    env = {"KUBECONFIG": str(config)}
    code, out, error = served.run(aws, "eks", "update-kubeconfig", "--name", "demo", "--kubeconfig", str(config))
    assert code == 0, error
    assert "Added new context arn:aws:eks:us-east-1:123456789012:cluster/demo" in out
    assert len(rows(served.kubectl("get", "nodes", env=env))) == 4
    wrong = served.kubectl(
        "get", "nodes", env={**env, "AWS_SECRET_ACCESS_KEY": "not-the-secret-of-this-user-at-all-000"}, ok=1
    )
    assert "You must be logged in to the server" in wrong
