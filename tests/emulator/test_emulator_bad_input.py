"""What clients send by mistake or on purpose: the documented error, never a traceback, never a half-made object."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from emulator_world import World
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

AUTH = (
    "AWS4-HMAC-SHA256 Credential=AKIABATONEMULATOR001/20261123/us-east-1/{}/aws4_request, "
    "SignedHeaders=host, Signature=00"
)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """An emulator with a network and no cluster."""
    made = World()
    made.network()
    yield made
    made.stop()


def send(
    world: World, method: str, path: str, body: bytes = b"", service: str = "eks", **headers: str
) -> tuple[int, str, dict[str, Any]]:
    """(status, x-amzn-errortype, JSON body) of a raw request."""
    parts = urlsplit(world.running.endpoint)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)
    if service:
        headers = {"Authorization": AUTH.format(service), **headers}
    connection.request(method, path, body, {"Content-Type": "application/json", **headers})
    answer = connection.getresponse()
    raw = answer.read()
    connection.close()
    try:
        parsed = json.loads(raw or b"{}")
    except ValueError:
        parsed = {"raw": raw.decode(errors="replace")}
    return answer.status, answer.headers.get("x-amzn-errortype", ""), parsed


CREATE = {"name": "demo", "roleArn": "arn:aws:iam::123456789012:role/x", "resourcesVpcConfig": {"subnetIds": []}}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "SerializationException"),
        (b"[]", "SerializationException"),
        (b'"text"', "SerializationException"),
        (b"\xff\xfe", "SerializationException"),
        (b"[" * 100_000, "SerializationException"),
        (b'{"name": 7}', "SerializationException"),
        (b'{"name": {"a": 1}}', "SerializationException"),
        (json.dumps({**CREATE, "resourcesVpcConfig": "x"}).encode(), "SerializationException"),
        (json.dumps({**CREATE, "tags": ["a"]}).encode(), "SerializationException"),
        (b"{}", "InvalidParameterException"),
        (json.dumps({**CREATE, "name": ""}).encode(), "InvalidParameterException"),
        (json.dumps({**CREATE, "name": "a/b"}).encode(), "InvalidParameterException"),
        (json.dumps({**CREATE, "name": "../../etc"}).encode(), "InvalidParameterException"),
        (json.dumps({**CREATE, "name": "a" * 101}).encode(), "InvalidParameterException"),
        (json.dumps({**CREATE, "version": "one"}).encode(), "InvalidParameterException"),
    ],
)
def test_bad_bodies_of_create_cluster(world: World, body: bytes, code: str) -> None:
    """A client with a bug must be told so in the service's terms, and no cluster may appear."""
    status, kind, answer = send(world, "POST", "/clusters", body)
    assert (status, kind) == (400, code)
    assert answer["message"]
    assert world.eks.list_clusters()["clusters"] == []


def test_giant_body(world: World) -> None:
    """A body of many megabytes is refused while it is read, not kept in memory and parsed."""
    status, _, answer = send(world, "POST", "/clusters", b" " * 9_000_000)
    assert (status, answer["message"]) == (413, "Request Too Long")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/clusters/a/b/c/d",
        "/clusters//",
        "/../etc/passwd",
        "/clusters/demo/../../x",
        "/nothing",
        "/clusters/%2e%2e/x",
    ],
)
def test_paths_that_are_no_operation(world: World, path: str) -> None:
    """Whatever is no path of the API is an unknown operation, wherever its dots point."""
    status, kind, _ = send(world, "GET", path)
    assert status in (400, 404)
    assert kind in ("UnknownOperationException", "ResourceNotFoundException", "InvalidParameterException")


def test_unsigned_request(world: World) -> None:
    """Without credentials AWS answers 403; a tool that forgot to sign must notice here, not in production."""
    status, kind, answer = send(world, "GET", "/clusters", service="")
    assert (status, kind) == (403, "MissingAuthenticationTokenException")
    assert answer["message"] == "Missing Authentication Token"


def test_query_parameters_are_checked(world: World) -> None:
    """maxResults beyond the model's bounds, or no number at all."""
    for query in ("maxResults=0", "maxResults=101", "maxResults=x", "maxResults="):
        status, kind, _ = send(world, "GET", f"/clusters?{query}")
        assert (query, status, kind) == (query, 400, "InvalidParameterException")
    status, kind, _ = send(world, "GET", "/clusters?nextToken=nonsense")
    assert (status, kind) == (400, "InvalidParameterException")


def test_missing_things_name_themselves(world: World) -> None:
    """The body of an EKS error carries the names of what it is about; SDKs show them."""
    status, kind, answer = send(world, "GET", "/clusters/none/node-groups/gone")
    assert (status, kind) == (404, "ResourceNotFoundException")
    assert answer["clusterName"] == "none"
    assert answer["message"] == "No cluster found for name: none."


def test_other_services_answer_in_their_own_form(world: World) -> None:
    """Unknown actions of EC2 (XML) and KMS (JSON) must stay parseable for their SDKs."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    status, _, answer = send(world, "POST", "/", b"Action=Nonsense&Version=2016-11-15", "ec2", **form)
    assert status == 400
    assert "<Code>InvalidAction</Code>" in answer["raw"]
    target = {"X-Amz-Target": "TrentService.Nonsense", "Content-Type": "application/x-amz-json-1.1"}
    status, kind, answer = send(world, "POST", "/", b"{}", "kms", **target)
    assert (status, kind) == (400, "UnknownOperationException")
    assert answer["__type"] == "UnknownOperationException"


def test_unknown_service(world: World) -> None:
    """A service nobody serves is refused, not mistaken for another."""
    status, _, answer = send(world, "GET", "/", service="nonsuch")
    assert status == 404
    assert "nonsuch" in json.dumps(answer)


def test_other_region_is_refused(world: World) -> None:
    """Clusters of one region must not show in another."""
    with pytest.raises(Exception, match="us-east-1 only"):
        world.client("eks", region_name="eu-west-1").list_clusters()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**40) | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_fuzzed_requests_get_an_answer(world: World, data: st.DataObject) -> None:
    """Any operation with any body built from the model's own member names: an answer below 500, in JSON."""
    contract = world.running.emulator.aws._contract
    operation = data.draw(st.sampled_from(contract.operations()))
    model = contract.operation(operation)
    members = list(model.input_shape.members) if model.input_shape else []
    names = st.sampled_from(members) if members else st.text(max_size=5)
    body = data.draw(st.dictionaries(names, JSON, max_size=4))
    path = "".join("x" if c in "{}" else c for c in model.http["requestUri"])
    status, _, answer = send(world, model.http["method"], path, json.dumps(body).encode())
    assert status < 500, (operation, body, answer)
    assert isinstance(answer, dict)
    assert "raw" not in answer


def test_faults_endpoint_refuses_nonsense(world: World) -> None:
    """A typo in a fault must be told, and must not leave half of the change in force."""
    before = send(world, "GET", "/_baton/faults", service="")[2]
    for body in (b"{", b"[]", b'{"nothing": {}}', b'{"faults": {"never_join": ["a"], "typo": 1}}', b'{"api": [{}]}'):
        status, _, answer = send(world, "POST", "/_baton/faults", body, service="")
        assert status == 400
        assert answer["message"]
    assert send(world, "GET", "/_baton/faults", service="")[2] == before
