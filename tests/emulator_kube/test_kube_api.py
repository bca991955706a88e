"""The Kubernetes API by itself: lists, versions, watches, patches, deletions and subresources, byte by byte."""

from __future__ import annotations

import json
from typing import Any

import pytest
from api_lab import (
    BUDGETS,
    DEPLOYMENTS,
    MAPS,
    PODS,
    TABLE,
    Api,
    budget,
    config_map,
    deployment,
    pod,
)

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"


@pytest.fixture
def api() -> Api:
    return Api(nodes=3)


def names(body: Any) -> list[str]:
    return [o["metadata"]["name"] for o in body["items"]]


# --- discovery


def test_aggregated_and_legacy_discovery_tell_the_same(api: Api) -> None:
    """Old clients walk group by group, new ones ask once: both must find every resource."""
    legacy = {
        (version, resource["name"])
        for version in ["v1", *(v["groupVersion"] for g in api.get("/apis").body["groups"] for v in g["versions"])]
        for resource in api.get(f"/apis/{version}" if "/" in version else f"/api/{version}").body["resources"]
    }
    aggregated = set()
    for path in ("/api", "/apis"):
        answer = api.get(path, accept=AGGREGATED)
        assert answer.headers["content-type"] == "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        for group in answer.body["items"]:
            for version in group["versions"]:
                base = group["metadata"].get("name", "")
                where = f"{base}/{version['version']}" if base else version["version"]
                for resource in version["resources"]:
                    aggregated.add((where, resource["resource"]))
                    for sub in resource.get("subresources", ()):
                        aggregated.add((where, f"{resource['resource']}/{sub['subresource']}"))
    assert aggregated == legacy
    assert ("v1", "pods/eviction") in legacy and ("apps/v1", "deployments/scale") in legacy


def test_every_discovered_resource_can_be_listed(api: Api) -> None:
    """Tools that walk all resources (`kubectl get all`, backup tools) must not trip over one that is only announced."""
    for group in api.get("/apis", accept=AGGREGATED).body["items"]:
        for version in group["versions"]:
            for resource in version["resources"]:
                if "list" not in resource["verbs"]:
                    continue
                answer = api.get(f"/apis/{group['metadata']['name']}/{version['version']}/{resource['resource']}")
                assert answer.status == 200
                assert answer.body["kind"] == resource["responseKind"]["kind"] + "List"


def test_openapi_v3_describes_the_fields_of_every_kind(api: Api) -> None:
    """kubectl explain and code generators read it; each reference in it must lead somewhere."""
    index = api.get("/openapi/v3").body["paths"]
    assert {"api/v1", "apis/apps/v1", "apis/policy/v1"} <= set(index)
    for entry in index.values():
        document = api.get(entry["serverRelativeURL"].partition("?")[0]).body
        schemas = document["components"]["schemas"]
        text = json.dumps(document)
        for reference in {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}:
            assert reference in schemas
    apps = api.get("/openapi/v3/apis/apps/v1").body["components"]["schemas"]
    spec = apps["io.k8s.api.V1DeploymentSpec"]["properties"]
    assert spec["replicas"] == {"type": "integer", "format": "int32"}


def test_unknown_groups_versions_and_resources_are_404(api: Api) -> None:
    """A removed API (policy/v1beta1) must look removed, as after an upgrade."""
    for path in (
        "/apis/policy/v1beta1/poddisruptionbudgets",
        "/apis/extensions/v1beta1",
        "/api/v2/pods",
        "/apis/apps/v1/nonsense",
        "/api/v1/namespaces/default/nodes",
        "/api/v1/pods/web",
    ):
        answer = api.get(path)
        assert (answer.status, answer.body["reason"]) == (404, "NotFound")
        assert answer.message == "the server could not find the requested resource"


# --- tokens


def test_without_a_good_token_the_answer_is_401(api: Api) -> None:
    """A wrong token must be refused in the words of the API server, before anything is told of the cluster."""
    for token in ("", "bad"):
        answer = api.get("/api/v1/nodes", token=token)
        assert answer.status == 401
        assert answer.body == {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": "Unauthorized",
            "reason": "Unauthorized",
            "code": 401,
        }


# --- lists


def test_list_pages_hold_together(api: Api) -> None:
    """kubectl asks for 500 at a time: every object once, in order, with the count of what is left."""
    for i in range(7):
        api.create(MAPS, config_map(f"c{i}"))
    seen: list[str] = []
    token, left = "", []
    while True:
        page = api.get(MAPS, limit=3, **({"continue": token} if token else {})).body
        seen += names(page)
        left.append(page["metadata"].get("remainingItemCount"))
        token = page["metadata"].get("continue", "")
        if not token:
            break
    assert seen == [*(f"c{i}" for i in range(7)), "kube-root-ca.crt"]
    assert left == [5, 2, None]


def test_pages_are_of_one_moment(api: Api) -> None:
    """What is created or deleted between two pages must not show: a list is consistent at its resourceVersion."""
    for i in range(4):
        api.create(MAPS, config_map(f"c{i}"))
    first = api.get(MAPS, limit=2).body
    api.create(MAPS, config_map("d"))
    assert api.ask("DELETE", f"{MAPS}/c3").status == 200
    second = api.get(MAPS, **{"limit": 10, "continue": first["metadata"]["continue"]}).body
    assert names(first) + names(second) == ["c0", "c1", "c2", "c3", "kube-root-ca.crt"]
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


def test_continue_token_expires_with_the_history() -> None:
    """A client that pages too slowly is told 410, with the hint to start again, and does."""
    api = Api(nodes=0, history=5)
    for i in range(4):
        api.create(MAPS, config_map(f"c{i}"))
    token = api.get(MAPS, limit=2).body["metadata"]["continue"]
    for i in range(9):
        api.create(MAPS, config_map(f"d{i}"))
    answer = api.get(MAPS, **{"limit": 2, "continue": token})
    assert (answer.status, answer.body["reason"]) == (410, "Expired")
    assert answer.message.startswith("The provided continue parameter is too old to display a consistent list result.")
    assert api.get(MAPS, **{"limit": 2, "continue": "rubbish"}).status == 400


def test_list_at_an_exact_version_and_too_new_a_version(api: Api) -> None:
    """resourceVersionMatch=Exact reads the past; a version of the future is a timeout that may be tried again."""
    api.create(MAPS, config_map("a"))
    then = api.get(MAPS).body["metadata"]["resourceVersion"]
    api.create(MAPS, config_map("b"))
    past = api.get(MAPS, resourceVersion=then, resourceVersionMatch="Exact", limit=0).body
    assert names(past) == ["a", "kube-root-ca.crt"]
    assert past["metadata"]["resourceVersion"] == then
    assert "b" in names(api.get(MAPS, resourceVersion=then, resourceVersionMatch="NotOlderThan").body)
    future = api.get(MAPS, resourceVersion=10**9)
    assert future.status == 504 and future.message.startswith("Too large resource version: 1000000000, current: ")
    assert api.get(MAPS, resourceVersion="x").status == 400
    forbidden = api.get(MAPS, resourceVersionMatch="Exact")
    assert forbidden.status == 422 and "resourceVersionMatch is forbidden unless resourceVersion" in forbidden.message


def test_selectors_choose_as_the_api_does(api: Api) -> None:
    """Label and field selectors in every form that scripts use; a broken one is a 400."""
    api.create(MAPS, config_map("a", tier="web", env="prod"))
    api.create(MAPS, config_map("b", tier="db"))
    api.create(MAPS, config_map("c"))
    for text, expected in {
        "tier=web": ["a"],
        "tier==web": ["a"],
        "tier!=web": ["b", "c", "kube-root-ca.crt"],
        "tier in (web,db)": ["a", "b"],
        "tier notin (web)": ["b", "c", "kube-root-ca.crt"],
        "tier": ["a", "b"],
        "!tier": ["c", "kube-root-ca.crt"],
        "tier,env=prod": ["a"],
        "tier=": [],
    }.items():
        assert names(api.get(MAPS, labelSelector=text).body) == expected, text
    assert names(api.get(MAPS, fieldSelector="metadata.name=b").body) == ["b"]
    assert api.get(MAPS, labelSelector="a in (b").status == 400
    assert api.get(MAPS, labelSelector="=x").status == 400
    wrong = api.get(PODS, fieldSelector="spec.foo=1")
    assert wrong.status == 400 and wrong.message == "field label not supported: spec.foo"
    wrong = api.get(MAPS, fieldSelector="spec.foo=1")
    assert wrong.message == '"spec.foo" is not a known field selector: only "metadata.name", "metadata.namespace"'


def test_field_selectors_of_pods_nodes_and_events(api: Api) -> None:
    """`--field-selector spec.nodeName=` is how every drain finds its pods."""
    api.create(PODS, pod("p"))
    api.wait(60)
    node = api.get(f"{PODS}/p").body["spec"]["nodeName"]
    assert names(api.get(PODS, fieldSelector=f"spec.nodeName={node},status.phase=Running").body) == ["p"]
    assert names(api.get(PODS, fieldSelector="status.phase!=Running").body) == []
    assert len(names(api.get("/api/v1/nodes", fieldSelector="spec.unschedulable=false").body)) == 3
    events = api.get("/api/v1/events", fieldSelector="involvedObject.name=p,reason=Scheduled").body["items"]
    assert [e["reason"] for e in events] == ["Scheduled"]


def test_tables_have_the_columns_of_the_api_server(api: Api) -> None:
    """kubectl prints what the server sends: names of columns, their order and priorities."""
    api.create(DEPLOYMENTS, deployment("web"))
    api.wait(60)
    assert api.table(DEPLOYMENTS)[0] == {
        "Name": "web",
        "Ready": "3/3",
        "Up-to-date": 3,
        "Available": 3,
        "Age": "60s",
        "Containers": "main",
        "Images": "web:1",
        "Selector": "app=web",
    }
    body = api.get(f"{DEPLOYMENTS}/web", accept=TABLE, includeObject="None").body
    assert [c["priority"] for c in body["columnDefinitions"]] == [0, 0, 0, 0, 0, 1, 1, 1]
    assert "object" not in body["rows"][0]
    row = api.get(f"{DEPLOYMENTS}/web", accept=TABLE, includeObject="Object").body["rows"][0]
    assert row["object"]["spec"]["replicas"] == 3


def test_metadata_only_lists(api: Api) -> None:
    """Garbage collectors and caches ask for PartialObjectMetadata to save memory."""
    accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
    body = api.get("/api/v1/nodes", accept=accept).body
    assert body["kind"] == "PartialObjectMetadataList"
    assert all(set(o) == {"metadata"} for o in body["items"])
    one = api.get("/api/v1/nodes/node-0", accept=accept.replace("List", "")).body
    assert one["kind"] == "PartialObjectMetadata" and "spec" not in one


# --- watches


def test_watch_goes_on_where_the_list_ended(api: Api) -> None:
    """list, then watch from its version: nothing lost, nothing twice. All informers live on that."""
    api.create(MAPS, config_map("a"))
    rv = api.get(MAPS).body["metadata"]["resourceVersion"]
    api.create(MAPS, config_map("b"))
    events = api.watch(
        MAPS,
        lambda: api.world.create("configmaps", {"metadata": {"name": "c", "namespace": "default"}}),
        lambda: api.world.remove("configmaps", "default", "a"),
        resourceVersion=rv,
    )
    assert [(e["type"], e["object"]["metadata"]["name"]) for e in events] == [
        ("ADDED", "b"),
        ("ADDED", "c"),
        ("DELETED", "a"),
    ]
    versions = [int(e["object"]["metadata"]["resourceVersion"]) for e in events]
    assert versions == sorted(versions) and len(set(versions)) == 3


def test_watch_without_a_version_begins_with_what_is_there(api: Api) -> None:
    """`kubectl get -w` style watches begin with synthetic ADDED events."""
    assert [e["object"]["metadata"]["name"] for e in api.watch("/api/v1/nodes")] == ["node-0", "node-1", "node-2"]


def test_watch_with_a_selector_turns_changes_into_comings_and_goings(api: Api) -> None:
    """An object that begins or ceases to match must be ADDED or DELETED, or caches keep what they should drop."""
    api.create(MAPS, config_map("a", app="x"))
    rv = api.world.rv

    def label(value: str) -> None:
        old = api.world.get("configmaps", "default", "a")
        assert old is not None
        api.world.update("configmaps", {**old, "metadata": {**old["metadata"], "labels": {"app": value}}})

    events = api.watch(MAPS, lambda: label("y"), lambda: label("x"), resourceVersion=rv, labelSelector="app=x")
    assert [e["type"] for e in events] == ["DELETED", "ADDED"]
    assert events[0]["object"]["metadata"]["labels"] == {"app": "x"}  # as it last matched


def test_watch_from_too_old_a_version_is_told_410() -> None:
    """An informer that fell behind must hear 410 as an ERROR event or a status, and list anew."""
    api = Api(nodes=0, history=5)
    for i in range(9):
        api.create(MAPS, config_map(f"c{i}"))
    (event,) = api.watch(MAPS, resourceVersion=2)
    assert event["type"] == "ERROR"
    assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")
    assert event["object"]["message"].startswith("too old resource version: 2 (")


def test_streaming_lists_end_with_a_bookmark(api: Api) -> None:
    """Clients since 1.32 list by a watch: the objects, then a bookmark that says the list is complete."""
    events = api.watch(
        "/api/v1/nodes",
        sendInitialEvents=True,
        resourceVersionMatch="NotOlderThan",
        allowWatchBookmarks=True,
    )
    assert [e["type"] for e in events] == ["ADDED"] * 3 + ["BOOKMARK"]
    mark = events[-1]["object"]
    assert mark["kind"] == "Node"
    assert mark["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert mark["metadata"]["resourceVersion"] == str(api.world.rv)


def test_watch_ends_with_its_timeout(api: Api) -> None:
    """timeoutSeconds bounds a watch; one that never ended would pile up connections."""
    answer = api.ask("GET", MAPS, watch=1, timeoutSeconds=1, resourceVersion=api.world.rv)
    assert (answer.status, answer.raw) == (200, b"")


def test_watch_in_table_form_sends_columns_once(api: Api) -> None:
    """`kubectl get nodes -w` prints one header."""
    events = api.watch(
        "/api/v1/nodes", lambda: api.twin.cordon("node-1"), lambda: api.wait(0), accept=TABLE, resourceVersion=0
    )
    assert [e["object"]["kind"] for e in events] == ["Table"] * len(events)
    assert events[0]["object"]["columnDefinitions"] and not any(e["object"]["columnDefinitions"] for e in events[1:])
    assert events[-1]["object"]["rows"][0]["cells"][:2] == ["node-1", "Ready,SchedulingDisabled"]


# --- writing


def test_stale_update_is_a_conflict_and_changes_nothing(api: Api) -> None:
    """Optimistic locking: the second of two writers from the same version must lose, whole."""
    made = api.create(MAPS, config_map("a"))
    won = api.ask("PUT", f"{MAPS}/a", {**made, "data": {"a": "first"}})
    lost = api.ask("PUT", f"{MAPS}/a", {**made, "data": {"a": "second"}})
    assert (won.status, lost.status) == (200, 409)
    assert lost.body["reason"] == "Conflict"
    assert lost.message == (
        'Operation cannot be fulfilled on configmaps "a": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )
    assert api.get(f"{MAPS}/a").body["data"] == {"a": "first"}


def test_creating_twice_and_in_no_namespace(api: Api) -> None:
    """The two commonest mistakes of scripts, in upstream's words."""
    api.create(MAPS, config_map("a"))
    twice = api.create(MAPS, config_map("a"), status=409)
    assert twice["reason"] == "AlreadyExists" and twice["message"] == 'configmaps "a" already exists'
    nowhere = api.create("/api/v1/namespaces/none/configmaps", config_map("a"), status=404)
    assert nowhere["message"] == 'namespaces "none" not found'
    other = {"metadata": {"name": "b", "namespace": "kube-system"}}
    assert api.create(MAPS, other, status=400)["message"] == (
        "the namespace of the provided object does not match the namespace sent on the request"
    )


def test_dry_run_judges_and_stores_nothing(api: Api) -> None:
    """`kubectl apply --dry-run=server` in a pipeline must not deploy."""
    made = api.create(DEPLOYMENTS, deployment("web"), dryRun="All")
    assert made["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": "25%", "maxSurge": "25%"}
    assert api.get(f"{DEPLOYMENTS}/web").status == 404
    api.create(DEPLOYMENTS, deployment("web"))
    api.patch(f"{DEPLOYMENTS}/web", {"spec": {"replicas": 9}}, dryRun="All")
    assert api.get(f"{DEPLOYMENTS}/web").body["spec"]["replicas"] == 3
    assert api.ask("DELETE", f"{DEPLOYMENTS}/web", dryRun="All").status == 200
    assert api.get(f"{DEPLOYMENTS}/web").status == 200
    assert api.ask("DELETE", DEPLOYMENTS, dryRun="All").status == 200
    assert api.get(f"{DEPLOYMENTS}/web").status == 200


def test_four_kinds_of_patch(api: Api) -> None:
    """Strategic merges lists by their keys, merge replaces them, JSON patch goes by path, apply by manager."""
    api.create(DEPLOYMENTS, deployment("web"))
    where = f"{DEPLOYMENTS}/web"

    def images(body: Any) -> list[str]:
        return [c["image"] for c in body["spec"]["template"]["spec"]["containers"]]

    side = {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "s:1"}]}}}}
    assert images(api.patch(where, side, "strategic-merge-patch+json")) == ["s:1", "web:1"]
    gone = {"spec": {"template": {"spec": {"containers": [{"name": "side", "$patch": "delete"}]}}}}
    assert images(api.patch(where, gone, "strategic-merge-patch+json")) == ["web:1"]
    merged = {"spec": {"template": {"spec": {"containers": [{"name": "only", "image": "o:1"}]}}}}
    assert images(api.patch(where, merged)) == ["o:1"]
    operations = [
        {"op": "test", "path": "/spec/replicas", "value": 3},
        {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "o:2"},
        {"op": "add", "path": "/metadata/annotations", "value": {"a/b": "c"}},
    ]
    assert images(api.patch(where, operations, "json-patch+json")) == ["o:2"]
    failed = api.patch(where, [{"op": "test", "path": "/spec/replicas", "value": 4}], "json-patch+json", status=422)
    assert failed["reason"] == "Invalid"
    applied = api.patch(
        where,
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 5}},
        "apply-patch+yaml",
        fieldManager="me",
        force=True,
    )
    assert applied["spec"]["replicas"] == 5
    assert [m["manager"] for m in applied["metadata"]["managedFields"]] == ["me"]
    assert api.ask("PATCH", where, {}, kind="application/json").status == 415


def applied(api: Api, manager: str, spec: Any, status: int = 200, **query: Any) -> Any:
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}
    where = f"{DEPLOYMENTS}/web"
    return api.patch(where, body, "apply-patch+yaml", status=status, fieldManager=manager, **query)


def test_two_managers_apply_side_by_side_and_conflict_over_one_field(api: Api) -> None:
    """GitOps and an autoscaler share an object: each its fields, a conflict by name where both want one."""
    template = deployment("web")["spec"]["template"]
    whole = {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    applied(api, "git", whole, 201)
    version = api.get(f"{DEPLOYMENTS}/web").body["metadata"]["resourceVersion"]
    refused = applied(api, "scaler", {"replicas": 5}, 409)
    assert refused["message"] == 'Apply failed with 1 conflict: conflict with "git": .spec.replicas'
    assert refused["details"]["causes"][0]["field"] == ".spec.replicas"
    assert api.get(f"{DEPLOYMENTS}/web").body["metadata"]["resourceVersion"] == version
    forced = applied(api, "scaler", {"replicas": 5}, force=True)
    assert forced["spec"]["replicas"] == 5
    held = {m["manager"]: m["fieldsV1"]["f:spec"] for m in forced["metadata"]["managedFields"]}
    assert "f:replicas" in held["scaler"] and "f:replicas" not in held["git"]
    del whole["replicas"]
    assert applied(api, "git", whole)["spec"]["replicas"] == 5
    again = api.get(f"{DEPLOYMENTS}/web").body["metadata"]["resourceVersion"]
    applied(api, "git", whole)
    assert api.get(f"{DEPLOYMENTS}/web").body["metadata"]["resourceVersion"] == again


def test_what_is_no_longer_applied_goes(api: Api) -> None:
    """A container, label or field that was taken out of the manifest must leave the cluster; others' stay."""
    main = {"name": "main", "image": "web:1", "env": [{"name": "A", "value": "1"}]}
    side = {"name": "side", "image": "side:1"}

    def spec(*containers: Any) -> Any:
        labels = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": list(containers)}}
        return {"selector": {"matchLabels": {"app": "web"}}, "template": labels, "minReadySeconds": 5}

    applied(api, "git", spec(main, side), 201)
    applied(api, "mesh", {"template": {"spec": {"containers": [{"name": "main", "tty": True}]}}})
    less = {k: v for k, v in spec({k: v for k, v in main.items() if k != "env"}).items() if k != "minReadySeconds"}
    left = applied(api, "git", less)["spec"]
    assert "minReadySeconds" not in left
    (container,) = left["template"]["spec"]["containers"]
    assert (container["name"], container["image"], container["tty"]) == ("main", "web:1", True)
    assert not container.get("env")


def test_unknown_fields_are_warned_of_dropped_or_refused(api: Api) -> None:
    """A misspelt field must not vanish silently: Strict refuses, Warn warns, Ignore drops."""
    body = deployment("web")
    body["spec"]["template"]["spec"]["containers"][0]["imagePullPolici"] = "Always"
    path = "spec.template.spec.containers[0].imagePullPolici"
    refused = api.create(DEPLOYMENTS, body, status=400, fieldValidation="Strict")
    assert refused["message"] == (
        f'Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: unknown field "{path}"'
    )
    warned = api.ask("POST", DEPLOYMENTS, body)
    assert (warned.status, warned.headers["warning"]) == (201, f'299 - "unknown field \\"{path}\\""')
    assert "imagePullPolici" not in warned.raw.decode()
    quiet = api.ask("PUT", f"{DEPLOYMENTS}/web", body, fieldValidation="Ignore")
    assert (quiet.status, "warning" in quiet.headers) == (200, False)


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        ({"replicas": "3"}, 400, "string into Go struct field DeploymentSpec.spec.replicas of type int32"),
        ({"replicas": -1}, 422, "spec.replicas: Invalid value: -1: must be greater than or equal to 0"),
        ({"selector": {}}, 422, "spec.selector: Invalid value: {}: empty selector is invalid for deployment"),
        (
            {"selector": {"matchLabels": {"app": "other"}}},
            422,
            'spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`',
        ),
        (
            {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}},
            422,
            "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0",
        ),
        ({"template": {"spec": {}}}, 422, "spec.template.spec.containers: Required value"),
    ],
)  # fmt: skip
def test_refusals_of_a_deployment(api: Api, change: dict[str, Any], status: int, message: str) -> None:
    """What people get wrong in manifests, refused in the words they will search for."""
    answer = api.create(DEPLOYMENTS, deployment("web", **change), status=status)
    assert message in answer["message"]
    assert api.get(f"{DEPLOYMENTS}/web").status == 404


def test_what_never_changes_is_refused(api: Api) -> None:
    """Selectors and pod specs are immutable; an upgrade tool that tries must hear it."""
    api.create(DEPLOYMENTS, deployment("web"))
    api.create(PODS, pod("bare"))
    other = {"spec": {"selector": {"matchLabels": {"app": "b"}}, "template": {"metadata": {"labels": {"app": "b"}}}}}
    answer = api.patch(f"{DEPLOYMENTS}/web", other, status=422)
    assert 'spec.selector: Invalid value: {"matchLabels":{"app":"b"}}: field is immutable' in answer["message"]
    answer = api.patch(f"{PODS}/bare", {"spec": {"nodeName": "node-1"}}, status=422)
    assert "pod updates may not change fields other than `spec.containers[*].image`" in answer["message"]


# --- deleting


def test_preconditions_guard_a_delete(api: Api) -> None:
    """A delete of the object that was seen must not hit its namesake of later."""
    made = api.create(MAPS, config_map("a"))
    uid = made["metadata"]["uid"]
    wrong = api.ask("DELETE", f"{MAPS}/a", {"preconditions": {"uid": "other"}})
    assert wrong.status == 409
    assert wrong.message == (
        'Operation cannot be fulfilled on configmaps "a": Precondition failed: '
        f"UID in precondition: other, UID in object meta: {uid}"
    )
    stale = api.ask("DELETE", f"{MAPS}/a", {"preconditions": {"uid": uid, "resourceVersion": "1"}})
    assert stale.status == 409 and "ResourceVersion in precondition: 1" in stale.message
    done = api.ask("DELETE", f"{MAPS}/a", {"preconditions": {"uid": uid}})
    assert done.body["status"] == "Success" and done.body["details"]["uid"] == uid


def test_pod_deletion_takes_its_grace(api: Api) -> None:
    """A deleted pod stays Terminating for its grace period; grace 0 takes it at once."""
    api.create(PODS, pod("slow"))
    api.create(PODS, pod("fast"))
    api.wait(60)
    left = api.ask("DELETE", f"{PODS}/slow", {"gracePeriodSeconds": 20}).body
    assert left["metadata"]["deletionGracePeriodSeconds"] == 20
    assert api.table(PODS, fieldSelector="metadata.name=slow")[0]["Status"] == "Terminating"
    api.wait(25)
    assert api.get(f"{PODS}/slow").status == 404
    assert api.ask("DELETE", f"{PODS}/fast", gracePeriodSeconds=0).status == 200
    assert api.get(f"{PODS}/fast").status == 404


def test_propagation_policies(api: Api) -> None:
    """Background takes the children along, Orphan leaves them, Foreground waits for them."""
    for policy, left in (("Background", 0), ("Orphan", 1)):
        name = policy.lower()
        api.create(DEPLOYMENTS, deployment(name, 1))
        api.wait(60)
        api.ask("DELETE", f"{DEPLOYMENTS}/{name}", {"propagationPolicy": policy})
        api.wait(60)
        sets = api.get("/apis/apps/v1/namespaces/default/replicasets", labelSelector=f"app={name}").body["items"]
        assert len(sets) == left
        assert len(names(api.get(PODS, labelSelector=f"app={name}").body)) == left
    api.create(DEPLOYMENTS, deployment("fore", 1))
    api.wait(60)
    shown = api.ask("DELETE", f"{DEPLOYMENTS}/fore", {"propagationPolicy": "Foreground"}).body
    assert shown["metadata"]["finalizers"] == ["foregroundDeletion"]
    api.wait(60)
    assert api.get(f"{DEPLOYMENTS}/fore").status == 404
    assert api.ask("DELETE", f"{MAPS}/x", {"propagationPolicy": "Sideways"}).status == 422


def test_finalizers_hold_an_object_until_they_are_taken_off(api: Api) -> None:
    """Operators rely on it: deletionTimestamp first, gone only when the last finalizer is."""
    api.create(MAPS, {"metadata": {"name": "held", "finalizers": ["example.com/hold"]}})
    assert api.ask("DELETE", f"{MAPS}/held").body["metadata"]["deletionTimestamp"]
    assert api.get(f"{MAPS}/held").status == 200
    api.patch(f"{MAPS}/held", {"metadata": {"finalizers": None}})
    assert api.get(f"{MAPS}/held").status == 404


def test_collection_delete_by_selector(api: Api) -> None:
    """`kubectl delete cm -l app=x` by one call must spare the others."""
    for name, label in (("a", "x"), ("b", "x"), ("c", "y")):
        api.create(MAPS, config_map(name, app=label))
    assert api.ask("DELETE", MAPS, labelSelector="app=x").status == 200
    assert names(api.get(MAPS).body) == ["c", "kube-root-ca.crt"]


# --- subresources


def test_status_and_spec_are_written_apart(api: Api) -> None:
    """A PUT of the object must not touch its status, a PUT of the status not its spec."""
    made = api.create(BUDGETS, budget("web", maxUnavailable=1))
    api.wait(1)
    changed = {**made, "metadata": {"name": "web"}, "spec": {**made["spec"], "maxUnavailable": 2}, "status": {}}
    kept = api.ask("PUT", f"{BUDGETS}/web", changed).body
    assert kept["spec"]["maxUnavailable"] == 2 and kept["status"]["observedGeneration"] == 1
    status = {"metadata": {"name": "web"}, "spec": {"maxUnavailable": 7}, "status": {"expectedPods": 5}}
    written = api.ask("PUT", f"{BUDGETS}/web/status", status).body
    assert written["spec"]["maxUnavailable"] == 2 and written["status"]["expectedPods"] == 5


def test_scale_reads_writes_and_refuses(api: Api) -> None:
    """Autoscalers speak to the scale subresource only."""
    api.create(DEPLOYMENTS, deployment("web"))
    where = f"{DEPLOYMENTS}/web/scale"
    scale = api.get(where).body
    assert (scale["kind"], scale["apiVersion"], scale["spec"]) == ("Scale", "autoscaling/v1", {"replicas": 3})
    assert scale["status"]["selector"] == "app=web"
    assert api.ask("PUT", where, {**scale, "spec": {"replicas": 5}}).body["spec"] == {"replicas": 5}
    assert api.ask("PUT", where, {**scale, "spec": {"replicas": 6}}).status == 409
    assert api.patch(where, {"spec": {"replicas": 2}})["spec"] == {"replicas": 2}
    assert api.ask("PUT", where, {"spec": {"replicas": -2}}).status == 422
    assert api.get(f"{DEPLOYMENTS}/web").body["spec"]["replicas"] == 2


def test_eviction_answers_word_for_word(api: Api) -> None:
    """Every drain tool reads these answers: 201, 429 with its cause, 404, 400."""
    api.create(DEPLOYMENTS, deployment("web", 2))
    api.create(BUDGETS, budget("web", minAvailable=2))
    api.wait(60)
    name = names(api.get(PODS).body)[0]
    where = f"{PODS}/{name}/eviction"
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": "default"}}
    refused = api.ask("POST", where, body)
    assert refused.status == 429
    assert refused.body == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "Cannot evict pod as it would violate the pod's disruption budget.",
        "reason": "TooManyRequests",
        "code": 429,
        "details": {
            "causes": [
                {
                    "reason": "DisruptionBudget",
                    "message": "The disruption budget web needs 2 healthy pods and has 2 currently",
                }
            ]
        },
    }
    other = api.ask("POST", where, {**body, "metadata": {"name": "x"}})
    assert (other.status, other.message) == (400, "name in URL does not match name in Eviction object")
    api.patch(f"{BUDGETS}/web", {"spec": {"minAvailable": 1}})
    early = api.ask("POST", where, body)
    assert early.status == 429 and early.headers["retry-after"] == "10"
    api.wait(1)
    assert api.ask("POST", where, {**body, "deleteOptions": {"dryRun": ["All"]}}).status == 201
    assert "deletionTimestamp" not in api.get(f"{PODS}/{name}").body["metadata"]
    assert api.ask("POST", where, body).body == {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201
    }  # fmt: skip
    missing = api.ask("POST", f"{PODS}/none/eviction", {})
    assert (missing.status, missing.message) == (404, 'pods "none" not found')


def test_two_budgets_over_one_pod_are_a_500(api: Api) -> None:
    """Upstream refuses to choose between budgets; Baton's checks warn of exactly this answer."""
    api.create(PODS, pod("web", app="web"))
    for name in ("a", "b"):
        api.create(
            BUDGETS,
            {"metadata": {"name": name}, "spec": {"selector": {"matchLabels": {"app": "web"}}, "minAvailable": 0}},
        )
    api.wait(60)
    answer = api.ask("POST", f"{PODS}/web/eviction", {})
    assert answer.status == 500
    assert (
        "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        in answer.message
    )


def test_logs_are_refused_politely(api: Api) -> None:
    """There is nothing to read, and the answer says so; for a pod that is not there it is a 404."""
    api.create(PODS, pod("web"))
    answer = api.get(f"{PODS}/web/log")
    assert answer.status == 400 and "the emulator runs no containers" in answer.message
    assert api.get(f"{PODS}/none/log").status == 404


# --- derived kinds


def test_events_are_the_same_in_both_groups(api: Api) -> None:
    """kubectl reads core/v1, newer tools events.k8s.io: one event, two forms."""
    api.create(PODS, pod("p"))
    api.wait(60)
    old = {e["metadata"]["name"]: e for e in api.get("/api/v1/namespaces/default/events").body["items"]}
    new = {e["metadata"]["name"]: e for e in api.get("/apis/events.k8s.io/v1/namespaces/default/events").body["items"]}
    assert set(old) == set(new) and old
    for name, event in old.items():
        assert (new[name]["regarding"], new[name]["note"], new[name]["reason"]) == (
            event["involvedObject"],
            event["message"],
            event["reason"],
        )
    one = api.get(f"/apis/events.k8s.io/v1/namespaces/default/events/{min(new)}").body
    assert (one["kind"], one["apiVersion"]) == ("Event", "events.k8s.io/v1")


def test_leases_and_metrics_follow_the_nodes(api: Api) -> None:
    """Liveness tools read leases, autoscalers metrics: one of each per node, fresh."""
    leases = api.get("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases").body["items"]
    assert [x["metadata"]["name"] for x in leases] == ["node-0", "node-1", "node-2"]
    assert len({x["spec"]["renewTime"] for x in leases}) >= 1
    usage = api.get("/apis/metrics.k8s.io/v1beta1/nodes").body
    assert usage["kind"] == "NodeMetricsList" and len(usage["items"]) == 3
    assert api.get("/apis/metrics.k8s.io/v1beta1/nodes/node-0").body["usage"]["cpu"].endswith("m")
    assert api.ask("POST", "/apis/metrics.k8s.io/v1beta1/nodes", {}).status == 405


# --- bad input


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"null", "application/json", 400),
        (b'{"metadata":{"name":NaN}}', "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, "application/json", 400),
        (b"hello", "text/plain", 415),
        (b"k8s\x00\xff\xff", "application/vnd.kubernetes.protobuf", 400),
        (b'{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a"}}', "application/json", 400),
        (b'{"metadata":[]}', "application/json", 400),
        (b'{"metadata":{"name":"a","labels":{"a":1}}}', "application/json", 400),
        (b'{"metadata":{"name":"../../etc"}}', "application/json", 422),
        (b'{"metadata":{}}', "application/json", 422),
        (b"x" * (3 * 1024 * 1024 + 1), "application/json", 413),
    ],
)
def test_broken_bodies_are_refused_with_a_status(api: Api, body: bytes, kind: str, status: int) -> None:
    """Whatever a broken client sends: a Status with the right code, and nothing stored."""
    before = api.world.rv
    answer = api.ask("POST", MAPS, body, kind=kind)
    assert answer.status == status
    assert answer.body["kind"] == "Status" and answer.message
    assert api.world.rv == before


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/namespaces/default/configmaps/../../kube-system/configmaps",
        "/api/v1/namespaces//configmaps",
        "/api/v1/namespaces/default/configmaps/a/b/c/d",
        "/api/v1/namespaces/default/configmaps/%00",
        "//clusters/other/api/v1/nodes",
        "//clusters/demo/../demo/api",
        "//etc/passwd",
    ],
)
def test_path_tricks_lead_nowhere(api: Api, path: str) -> None:
    """A path is never a way around a namespace or into another cluster."""
    answer = api.get(path)
    assert answer.status == 404
    assert answer.body["kind"] == "Status"
