"""Random requests: whatever comes in, the answer is a documented one, and what is stored can be read and controlled."""

from __future__ import annotations

import json
from typing import Any

from api_lab import TABLE, Api, deployment, pod
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from baton.emulator.kube import protobuf, schema
from baton.emulator.kube.registry import KINDS, Kind
from baton.twin.world import ApiError

REFUSALS = {400, 403, 404, 405, 409, 410, 413, 415, 422, 429, 504}
WRITABLE = [k for k in KINDS if "create" in k.verbs and k.plural not in ("namespaces", "events")]
PATCHES = ["json-patch+json", "merge-patch+json", "strategic-merge-patch+json", "apply-patch+yaml"]
CALM = settings(
    max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)

words = st.sampled_from(
    [
        "",
        "a",
        "web",
        "default",
        "x-1",
        "A b",
        "../..",
        "é",
        "\ud800",
        "a" * 300,
        "10%",
        "-1",
        "1",
        "Always",
        "None",
        "{{",
    ]
)
numbers = st.sampled_from([0, 1, -1, 2, 5, 100, 2**31 - 1, -(2**31), 2**31, 2**63])
junk: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, st.floats(), words),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)


def of_type(code: str, depth: int = 0) -> st.SearchStrategy[Any]:
    """Mostly values of the right type."""
    if code[0] == "[" and len(code) > 1:
        return st.lists(of_type(code[1:], depth), max_size=2)
    if code[0] == "{" and len(code) > 1:
        return st.dictionaries(words, of_type(code[1:], depth), max_size=2)
    if len(code) > 1:
        return st.just({}) if depth > 5 else st.deferred(lambda: instance(code, depth + 1))
    return {
        "s": words,
        "i": st.sampled_from([0, 1, -1, 3, 100, 2**31 - 1]),
        "l": st.sampled_from([0, 1, -1, 30, 2**40]),
        "b": st.booleans(),
        "n": st.floats(allow_nan=False, allow_infinity=False),
        "t": st.sampled_from(["2026-01-02T03:04:05Z", "2026-01-02T03:04:05.123456Z", "0001-01-01T00:00:00Z", "x"]),
        "q": st.sampled_from(["1", "100m", "1Gi", "0", "-1", "1e3", 2, 0.5, "x"]),
        "x": st.sampled_from([0, 1, -1, "25%", "0%", "150%", "x"]),
        "o": junk,
    }[code]


def instance(name: str, depth: int = 0) -> st.SearchStrategy[dict[str, Any]]:
    """An object of a named type with some of its fields."""
    fields = {k: v for k, v in schema.fields_of(name).items() if not (depth == 0 and k in ("apiVersion", "kind"))}
    return st.lists(st.sampled_from(sorted(fields)), max_size=4 if depth else 6, unique=True).flatmap(
        lambda keys: st.fixed_dictionaries({k: of_type(fields[k], depth) for k in keys})
    )


SEEDS: dict[str, Any] = {
    "deployments.apps": deployment("fuzz"),
    "statefulsets.apps": {**deployment("fuzz"), "spec": {**deployment("fuzz")["spec"], "serviceName": "fuzz"}},
    "daemonsets.apps": {"spec": {k: v for k, v in deployment("fuzz")["spec"].items() if k != "replicas"}},
    "replicasets.apps": deployment("fuzz"),
    "jobs.batch": {"spec": {"template": {"spec": {**pod("x")["spec"], "restartPolicy": "Never"}}}},
    "pods": pod("fuzz", app="fuzz"),
    "poddisruptionbudgets.policy": {"spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "fuzz"}}}},
    "services": {"spec": {"selector": {"app": "fuzz"}, "ports": [{"port": 80}]}},
    "nodes": {},
    "persistentvolumeclaims": {"spec": {"storageClassName": "gp2", "accessModes": ["ReadWriteOnce"]}},
    "persistentvolumes": {"spec": {"capacity": {"storage": "1Gi"}}},
    "storageclasses.storage.k8s.io": {"provisioner": "x"},
    "csinodes.storage.k8s.io": {"spec": {"drivers": []}},
    "events": {"involvedObject": {"kind": "Pod", "name": "x", "namespace": "default"}},
}


@st.composite
def mutated(draw: st.DrawFn, resource: str) -> dict[str, Any]:
    """A good object with one to three of its fields, at any depth, drawn anew."""
    body: dict[str, Any] = json.loads(json.dumps(SEEDS[resource]))
    root = schema.type_of(resource)
    assert root is not None
    for _ in range(draw(st.integers(1, 3))):
        holder: Any = body
        code = root
        while True:
            fields = schema.fields_of(code)
            key = draw(st.sampled_from(sorted(k for k in fields if k not in ("kind", "apiVersion"))))
            inner = fields[key]
            below = holder.get(key)
            deep = inner[1:] if inner[0] == "[" and len(inner) > 1 else inner
            if isinstance(below, list) and below:
                below = below[0]
            if len(deep) > 1 and deep[0] not in "[{" and isinstance(below, dict) and draw(st.integers(0, 4)):
                holder, code = below, deep
                continue
            holder[key] = draw(of_type(inner, 2))
            break
    body["metadata"] = {**(body.get("metadata") or {}), "name": "fuzz"}
    return body


WORDS = [
    *("api", "apis", "v1", "apps", "policy", "namespaces", "default", "pods", "nodes", "node-0", "web", "deployments"),
    *("status", "scale", "eviction", "log", "..", ".", "%2e%2e", "%00", "*", "é", "healthz", "openapi", "v3"),
    *("version", "metrics.k8s.io", "v1beta1", "events.k8s.io", "watch", "proxy"),
]
PARAMETERS = [
    "limit",
    "continue",
    "watch",
    "resourceVersion",
    "labelSelector",
    "fieldSelector",
    "dryRun",
    "timeoutSeconds",
]


def folder(kind: Kind) -> str:
    base = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    return f"{base}/namespaces/default/{kind.plural}" if kind.namespaced else f"{base}/{kind.plural}"


def settle(api: Api) -> None:
    """Let controllers act on what is there, then read all of it in every form."""
    api.wait(400)
    for kind in KINDS:
        for accept in ("application/json", TABLE):
            answer = api.get(folder(kind), accept=accept)
            assert answer.status == 200, answer.raw
            json.loads(answer.raw)


def sound(answer: Any) -> None:
    """A success, or a Status that says what was wrong."""
    if answer.status < 400:
        assert answer.body["kind"]
        return
    assert answer.status in REFUSALS
    body = answer.body
    assert (body["kind"], body["status"], body["code"]) == ("Status", "Failure", answer.status)
    assert body["message"] and body["reason"]


def cluster() -> Api:
    """Two nodes, a Deployment and a bare pod, both called web."""
    made = Api(nodes=2)
    made.create(folder(KINDS_BY["deployments.apps"]), deployment("web", 2))
    made.create(folder(KINDS_BY["pods"]), pod("web"))
    made.wait(60)
    return made


KINDS_BY = {k.resource: k for k in KINDS}


@CALM
@given(data=st.data())
def test_random_objects_are_stored_whole_or_refused(data: st.DataObject) -> None:
    """A half-made object would stop a controller, and with it the emulator, for everybody."""
    kind = data.draw(st.sampled_from(WRITABLE))
    name = schema.type_of(kind.resource)
    assert name is not None
    objects = mutated(kind.resource) if kind.resource in SEEDS else instance(name)
    body, again = data.draw(objects), data.draw(objects)
    api = cluster()
    made = api.ask("POST", folder(kind), {**body, "metadata": {**(body.get("metadata") or {}), "name": "fuzz"}})
    sound(made)
    if made.status == 201:
        where = f"{folder(kind)}/fuzz"
        assert api.get(where).status == 200
        settle(api)
        sound(api.ask("PUT", where, {**again, "metadata": {"name": "fuzz"}}))
        settle(api)
        sound(api.ask("DELETE", where))
        settle(api)


@CALM
@given(data=st.data())
def test_random_patches_change_all_or_nothing(data: st.DataObject) -> None:
    """A patch that is refused must leave the object exactly as it was."""
    kind = data.draw(st.sampled_from([KINDS_BY[r] for r in ("deployments.apps", "pods", "nodes", "configmaps")]))
    target = {"nodes": "node-0", "configmaps": "kube-root-ca.crt"}.get(kind.resource, "web")
    sub = data.draw(st.sampled_from(["", "", "/status", "/scale"]))
    name = schema.type_of(kind.resource)
    assert name is not None
    form = data.draw(st.sampled_from(PATCHES))
    operation = st.fixed_dictionaries(
        {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "x"])},
        optional={
            "path": st.sampled_from(
                ["", "/", "/spec", "/spec/replicas", "/metadata/labels/a", "/metadata", "/spec/-", 3]
            ),
            "from": st.sampled_from(["", "/spec", "/metadata/name"]),
            "value": junk,
        },
    )
    patch = data.draw(st.lists(operation | junk, max_size=3) if form.startswith("json") else instance(name) | junk)
    api = cluster()
    where = f"{folder(kind)}/{target}"
    before = api.get(where).body
    answer = api.ask("PATCH", where + sub, patch, kind=f"application/{form}", fieldManager="fuzz", force=True)
    sound(answer)
    after = api.get(where).body
    if answer.status >= 400:
        assert after == before
    else:
        assert after["metadata"]["name"] == target
        settle(api)
        if api.get(where).status == 404:  # a finalizer or owner that was patched in may have taken it along
            assert kind.resource in ("pods", "configmaps", "deployments.apps", "nodes")


@CALM
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "X"]),
    parts=st.lists(
        st.sampled_from(WORDS),
        max_size=8,
    ),
    query=st.dictionaries(
        st.sampled_from(PARAMETERS),
        st.sampled_from(["", "0", "1", "-1", "x", "a=b", "a in (b", "!a", "=", "true", "9" * 30, "é", "a,,b", "١"]),
        max_size=3,
    ),
    body=st.one_of(st.none(), st.binary(max_size=30), junk),
    kind=st.sampled_from(
        ["application/json", "application/yaml", "text/plain", "application/vnd.kubernetes.protobuf", ""]
    ),
)
def test_random_paths_queries_and_bodies_get_a_documented_answer(
    method: str, parts: list[str], query: dict[str, str], body: Any, kind: str
) -> None:
    """Path tricks and broken bodies must end in a Status, never in a traceback or another cluster's objects."""
    api = Api(nodes=1)
    path = "/" + "/".join(parts)

    async def at_once() -> None:
        return None

    answer = api.ask(method, path, body, kind=kind, during=at_once, **query)
    if method == "GET" and answer.status == 200 and answer.headers["content-type"] == "application/json":
        for line in answer.raw.splitlines() or [b"{}"]:
            json.loads(line)
    elif answer.status >= 400:
        sound(answer)


def varint(n: int) -> bytes:
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def part(number: int, body: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(body)) + body


@settings(CALM, max_examples=300)
@given(
    kind=st.sampled_from(sorted(protobuf._data()[0])),
    raw=st.one_of(
        st.binary(max_size=40),
        st.lists(st.tuples(st.integers(1, 12), st.binary(max_size=12)), max_size=6).map(
            lambda parts: b"".join(part(n, b) for n, b in parts)
        ),
        st.integers(1, 3000).map(lambda depth: _nested(depth)),
    ),
)
def test_random_protobuf_is_decoded_or_refused(kind: str, raw: bytes) -> None:
    """A broken or endlessly nested protobuf body is a 400 like any other."""
    version, _, name = kind.partition(" ")
    type_meta = part(1, version.encode()) + part(2, name.encode())
    body = protobuf.MAGIC + part(1, type_meta) + part(2, raw)
    try:
        decoded = protobuf.decode(body)
    except ApiError as error:
        assert error.status in (400, 415)
    else:
        assert decoded["kind"] == name
        json.dumps(decoded)


def _nested(depth: int) -> bytes:
    body = b""
    for _ in range(depth):
        body = part(2, body)
    return body
