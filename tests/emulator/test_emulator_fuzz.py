"""Requests drawn from botocore's own EKS model, mostly well-formed, about a cluster that exists: no answer may be a
failure of the emulator, errors are the documented ones, and what is refused changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from botocore.model import ListShape, MapShape, Shape, StringShape, StructureShape
from emulator_world import World
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from baton.emulator.moto_side import Ask
from baton.twin.cloud.cloud import served

pytestmark = pytest.mark.xdist_group("emulator-fuzz")

GONE = frozenset(("DeleteCluster", "DeleteNodegroup"))  # the cluster is needed for all the others
COMMON = frozenset(  # answered by every operation, whether its model lists them or not
    ("SerializationException", "InvalidParameterException", "InvalidRequestException", "UnknownOperationException")
    + ("ResourceNotFoundException",)
)
ROLE = "arn:aws:iam::123456789012:role/fuzz"
WORDS = (
    ("demo", "main", "kube-proxy", "coredns", "none", "", "a" * 120, "1.34", "1.35", "1.99", "$Latest", "v1.35.0-x")
    + (ROLE, "arn:aws:eks:us-east-1:123456789012:cluster/demo", "arn:x", "m5.large", "kube-system", "sso", "oidc")
    + ("é", "../x", "%2e", "a/b", " ", "0", "-1", "10.0.0.0/16", "{}", "null")
)
NUMBERS = st.sampled_from((0, 1, 2, 3, 100, 101, -1, 2**31, 2**63))
WRONG = st.sampled_from((None, True, 7, -1.5, "x", [], {}, [None], {"": {}}, [[[]]]))
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "integer": NUMBERS,
    "long": NUMBERS,
    "boolean": st.booleans(),
    "timestamp": st.sampled_from((0, 1_800_000_000, -1, "2026-11-23T00:00:00Z")),
    "double": st.sampled_from((0.0, 1.5, -1.0)),
    "float": st.sampled_from((0.0, 1.5, -1.0)),
}


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """An emulator with cluster demo, node group main of one and an add-on."""
    made = World()
    made.cluster()
    made.group("main", size=1, launchTemplate={"id": made.template("fuzz", made.golden("1.34"))})
    made.eks.create_addon(clusterName="demo", addonName="kube-proxy")
    yield made
    made.stop()


def of_shape(shape: Shape, depth: int = 0) -> st.SearchStrategy[Any]:
    """Values as the model wants them, rarely something else."""
    if isinstance(shape, StructureShape):
        known = {n: of_shape(s, depth + 1) for n, s in shape.members.items()} if depth < 4 else {}
        must = {n: known[n] for n in shape.required_members if n in known}
        right: st.SearchStrategy[Any] = st.fixed_dictionaries(
            must, optional={n: s for n, s in known.items() if n not in must}
        )
    elif isinstance(shape, ListShape):
        right = st.lists(of_shape(shape.member, depth + 1), max_size=2)
    elif isinstance(shape, MapShape):
        right = st.dictionaries(st.sampled_from(WORDS), of_shape(shape.value, depth + 1), max_size=2)
    elif isinstance(shape, StringShape) and shape.enum:
        right = st.sampled_from(shape.enum)
    else:
        right = VALUES.get(shape.type_name, st.sampled_from(WORDS))
    return st.integers(0, 24).flatmap(lambda n: WRONG if n == 24 else right)


def request(model: Any, params: Any) -> Ask:
    """The HTTP request that an SDK would make of `params`."""
    given_params = params if isinstance(params, dict) else {}
    members = model.input_shape.members if model.input_shape else {}
    path, query, body = model.http["requestUri"].partition("?")[0], [], {}
    for name, value in given_params.items():
        shape = members.get(name)
        where = shape.serialization if shape is not None else {}
        wire = where.get("name", name)
        if where.get("location") == "uri":
            path = path.replace("{" + wire + "}", quote(str(value), safe=""))
        elif where.get("location") == "querystring":
            query += [(wire, str(v)) for v in (value if isinstance(value, list) else [value])]
        else:
            body[wire] = value
    for name in members:
        path = path.replace("{" + members[name].serialization.get("name", name) + "}", "demo")
    raw = json.dumps(body if isinstance(params, dict) else params).encode()
    return Ask("eks", "us-east-1", model.http["method"], path, urlencode(query), {}, raw)


def state(emulator: Any) -> str:
    """Everything that the EKS API could show."""
    core = emulator.twin.cloud.core
    clusters = {name: asdict(c) for name, c in core.clusters.items()}
    return repr((clusters, core.asgs, core.instances, core.ips_taken))


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_the_model_allows_to_ask(world: World, data: st.DataObject) -> None:
    """A client with wrong values must get the service's errors; half a node group would poison every later plan."""
    emulator = world.running.emulator
    contract = emulator.aws._contract
    operation = data.draw(st.sampled_from([o for o in contract.operations() if o in served() and o not in GONE]))
    model = contract.operation(operation)
    ask = request(model, data.draw(of_shape(model.input_shape)) if model.input_shape else {})

    def both() -> tuple[str, Any, str]:
        before = state(emulator)
        return before, emulator.aws.answer(ask), state(emulator)

    before, answer, after = world.running.call(both)
    body = json.loads(answer.body)
    assert answer.status < 500, (operation, ask, body)
    if answer.status < 400:
        return  # the emulator itself holds every such answer against the model
    code = answer.headers["x-amzn-errortype"]
    assert code in COMMON | {s.name for s in model.error_shapes}, (operation, ask, code, body)
    assert body["message"], (operation, ask)
    assert before == after, f"{operation} was refused and changed something: {ask}"
