"""Python clients that we did not write, against a served cluster; and tokens, over the wire."""

from __future__ import annotations

import base64
import datetime as dt
import json
import socket
import ssl
import threading
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPSHandler, ProxyHandler, Request, build_opener

import kubernetes
import lightkube
import pytest
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from kube_served import Served, budget, deployment
from kubernetes.client.exceptions import ApiException
from lightkube.core.exceptions import ApiError
from lightkube.models.apps_v1 import DeploymentSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ConfigMap, Node, Pod

pytestmark = pytest.mark.xdist_group("served")


@pytest.fixture(scope="module")
def official(served: Served) -> kubernetes.client.ApiClient:
    return kubernetes.config.new_client_from_config(str(served.running.kubeconfig))


@pytest.fixture(scope="module")
def light(served: Served) -> lightkube.Client:
    config = lightkube.KubeConfig.from_file(str(served.running.kubeconfig))
    return lightkube.Client(config=config.get(), trust_env=False)


def test_official_client_reads_pages_and_watches(served: Served, official: Any) -> None:
    """The client most Python tools are built on: typed objects, paging, a resumed watch."""
    core = kubernetes.client.CoreV1Api(official)
    nodes = core.list_node()
    assert len(nodes.items) == 3 and nodes.items[0].status.node_info.kubelet_version.startswith("v1.34.")
    first = core.list_pod_for_all_namespaces(limit=3)
    rest = core.list_pod_for_all_namespaces(limit=1000, _continue=first.metadata._continue)
    assert len(first.items) == 3 and first.metadata.remaining_item_count == len(rest.items)
    space = served.fresh_namespace()
    rv = core.list_namespaced_config_map(space).metadata.resource_version
    core.create_namespaced_config_map(space, {"metadata": {"name": "a"}, "data": {"k": "v"}})
    seen = []
    watcher = kubernetes.watch.Watch()
    for event in watcher.stream(core.list_namespaced_config_map, space, resource_version=rv, timeout_seconds=10):
        seen.append((event["type"], event["object"].metadata.name))
        watcher.stop()
    assert seen == [("ADDED", "a")]


def test_official_client_evicts_and_reads_the_cause(served: Served, official: Any) -> None:
    """Python drain tools catch ApiException 429 and read its body."""
    core = kubernetes.client.CoreV1Api(official)
    space = served.fresh_namespace()
    served.apply(deployment("web", 2), budget("web", minAvailable=2), namespace=space)
    served.kubectl("rollout", "status", "deploy/web", "-n", space)
    name = core.list_namespaced_pod(space).items[0].metadata.name
    eviction = kubernetes.client.V1Eviction(metadata=kubernetes.client.V1ObjectMeta(name=name, namespace=space))
    with pytest.raises(ApiException) as caught:
        core.create_namespaced_pod_eviction(name, space, eviction)
    assert caught.value.status == 429
    cause = json.loads(caught.value.body)["details"]["causes"][0]
    assert cause["message"] == "The disruption budget web needs 2 healthy pods and has 2 currently"
    policy = kubernetes.client.PolicyV1Api(official)
    policy.delete_namespaced_pod_disruption_budget("web", space)
    core.create_namespaced_pod_eviction(name, space, eviction)
    assert core.read_namespaced_pod(name, space).metadata.deletion_timestamp


def test_official_client_patches_scales_and_asks(official: Any, served: Served) -> None:
    """Scale subresource, strategic patch of a node, access review, version, API groups."""
    space = served.fresh_namespace()
    served.apply(deployment("web", 1), namespace=space)
    apps = kubernetes.client.AppsV1Api(official)
    assert apps.patch_namespaced_deployment_scale("web", space, {"spec": {"replicas": 2}}).spec.replicas == 2
    core = kubernetes.client.CoreV1Api(official)
    node = core.list_node().items[0].metadata.name
    assert core.patch_node(node, {"spec": {"unschedulable": True}}).spec.unschedulable is True
    assert core.patch_node(node, {"spec": {"unschedulable": None}}).spec.unschedulable is None
    review = kubernetes.client.V1SelfSubjectAccessReview(
        spec={"resourceAttributes": {"verb": "list", "resource": "nodes"}}
    )
    assert kubernetes.client.AuthorizationV1Api(official).create_self_subject_access_review(review).status.allowed
    assert kubernetes.client.VersionApi(official).get_code().minor == "34"
    groups = kubernetes.client.ApisApi(official).get_api_versions().groups
    assert {"apps", "policy", "metrics.k8s.io"} <= {g.name for g in groups}


def test_lightkube_reads_writes_and_watches(served: Served, light: lightkube.Client) -> None:
    """The client that Baton itself uses: CRUD, apply, watch, typed errors."""
    space = served.fresh_namespace()
    light.create(ConfigMap(metadata=ObjectMeta(name="a", namespace=space), data={"k": "v"}))
    found = light.get(ConfigMap, "a", namespace=space)
    assert found.data == {"k": "v"} and found.metadata is not None
    rv = found.metadata.resourceVersion
    light.patch(ConfigMap, "a", {"data": {"k": "w"}}, namespace=space)
    kind, changed = next(iter(light.watch(ConfigMap, namespace=space, resource_version=rv)))
    assert (kind, changed.data) == ("MODIFIED", {"k": "w"})
    made = light.apply(
        Deployment(
            metadata=ObjectMeta(name="web", namespace=space), spec=DeploymentSpec.from_dict(deployment("web")["spec"])
        ),
        field_manager="tests",
    )
    assert made.spec is not None and made.spec.replicas == 3
    with pytest.raises(ApiError) as caught:
        light.create(ConfigMap(metadata=ObjectMeta(name="a", namespace=space)))
    assert (caught.value.status.code, caught.value.status.reason) == (409, "AlreadyExists")
    assert sum(1 for _ in light.list(Node, chunk_size=2)) == 3
    light.delete(ConfigMap, "a", namespace=space)
    assert all(p.status.phase for p in light.list(Pod, namespace="kube-system") if p.status)


def test_concurrent_writers_lose_no_update(served: Served, official: Any) -> None:
    """Eight writers that read, change and retry on 409 must add up: no write may silently undo another."""
    space = served.fresh_namespace()
    core = kubernetes.client.CoreV1Api(official)
    core.create_namespaced_config_map(space, {"metadata": {"name": "count"}, "data": {"n": "0"}})
    errors: list[Exception] = []

    def add() -> None:
        own = kubernetes.client.CoreV1Api(kubernetes.config.new_client_from_config(str(served.running.kubeconfig)))
        done = 0
        while done < 5:
            found = own.read_namespaced_config_map("count", space)
            found.data["n"] = str(int(found.data["n"]) + 1)
            try:
                own.replace_namespaced_config_map("count", space, found)
                done += 1
            except ApiException as error:
                if error.status != 409:
                    errors.append(error)
                    return

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert core.read_namespaced_config_map("count", space).data["n"] == "40"


# --- tokens


def token(served: Served, cluster: str = "demo", *, age: float = 0, secret: str = "", key: str = "") -> str:
    """What `aws eks get-token` prints: a presigned GetCallerIdentity URL, signed `age` seconds ago."""
    env = served.running.environment
    credentials = Credentials(key or env["AWS_ACCESS_KEY_ID"], secret or env["AWS_SECRET_ACCESS_KEY"])
    request = AWSRequest(
        "GET",
        "https://sts.us-east-1.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15",
        headers={"x-k8s-aws-id": cluster},
    )
    signer = SigV4QueryAuth(credentials, "sts", "us-east-1", expires=60)
    stamp = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=age)
    signer_time = stamp.strftime("%Y%m%dT%H%M%SZ")
    request.context["timestamp"] = signer_time
    original = signer.add_auth

    def add_auth() -> None:
        import botocore.auth as auth

        kept = auth.get_current_datetime
        auth.get_current_datetime = lambda *a, **k: stamp.replace(tzinfo=None)
        try:
            original(request)
        finally:
            auth.get_current_datetime = kept

    add_auth()
    return "k8s-aws-v1." + base64.urlsafe_b64encode(request.url.encode()).decode().rstrip("=")


def status(served: Served, bearer: str) -> int:
    config = json.loads(served.running.kubeconfig.read_text())
    cluster = config["clusters"][0]["cluster"]
    context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    opener = build_opener(ProxyHandler({}), HTTPSHandler(context=context))
    request = Request(cluster["server"] + "/api/v1/nodes", headers={"Authorization": f"Bearer {bearer}"})
    try:
        with opener.open(request, timeout=10) as answer:
            return int(answer.status)
    except HTTPError as error:
        assert json.loads(error.read())["message"] == "Unauthorized"
        return error.code


def test_tokens_are_checked_not_ignored(served: Served) -> None:
    """Good for 15 minutes, for one cluster, from one key: anything else is 401, as on EKS."""
    assert status(served, token(served)) == 200
    assert status(served, token(served, age=14 * 60)) == 200
    assert status(served, token(served, age=16 * 60)) == 401
    assert status(served, token(served, "another-cluster")) == 401
    assert status(served, token(served, secret="wrong" * 8)) == 401
    assert status(served, token(served, key="AKIAFOREIGN000000000")) == 401
    good = token(served)
    assert status(served, good[:-4] + "AAAA") == 401
    assert status(served, "k8s-aws-v1.!!!") == 401
    assert status(served, "") == 401


def test_small_answers_do_not_wait_for_each_other(served: Served) -> None:
    """Without TCP_NODELAY each answer on a kept connection waits 40 ms for an acknowledgement."""
    assert all(s.proto == socket.IPPROTO_TCP for s in served.running._session._sockets)
