"""Configuration schemas of add-ons: what changes from one to the next, and which values no longer fit."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from planner_world import world

from baton.knowledge.tables import Knowledge
from baton.logic.upgrade.schemas import changes, parse, violations
from baton.model.target import Target
from baton.planner.plan import make_plan

OLD: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "definitions": {"Resources": {"type": "object", "properties": {"cpu": {"type": "string"}}}},
    "properties": {
        "replicaCount": {"type": "integer"},
        "mode": {"type": "string", "enum": ["ipvs", "iptables"]},
        "corefile": {"type": "string"},
        "autoScaling": {"type": "object", "properties": {"enabled": {"type": "boolean"}, "min": {"type": "integer"}}},
        "resources": {"$ref": "#/definitions/Resources"},
        "tolerations": {"type": "array", "items": {"type": "object"}},
    },
}
NEW: dict[str, Any] = {
    **OLD,
    "required": ["owner"],
    "definitions": {"Resources": {"type": "object", "properties": {"cpu": {"type": ["string", "number"]}}}},
    "properties": {
        "replicaCount": {"type": "string"},
        "mode": {"type": "string", "enum": ["nftables", "iptables"]},
        "resources": {"$ref": "#/definitions/Resources"},
        "tolerations": {"type": "array", "items": {"type": "object"}},
        "owner": {"type": "string"},
    },
}


def test_what_changes_is_named_by_path() -> None:
    """A setting that is gone would be found out by EKS, half-way through the upgrade."""
    assert changes(OLD, NEW) == [
        "corefile is gone",
        "autoScaling is gone",  # what was below it is not listed again
        "replicaCount is string, was integer",
        "mode takes ipvs no more",
        "resources.cpu is string or number, was string",
        "owner is new and required",
    ]
    assert changes(OLD, OLD) == []


@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        ({"replicaCount": 2, "mode": "ipvs", "resources": {"cpu": "100m"}}, []),
        ({"replicas": 2}, ["replicas is no setting of it"]),
        ({"replicaCount": True}, ["replicaCount is boolean, should be integer"]),
        ({"mode": "nftables"}, ["mode is 'nftables', should be one of ipvs, iptables"]),
        ({"resources": {"cpu": 1}}, ["resources.cpu is integer, should be string"]),
        ({"tolerations": [{}, "all"]}, ["tolerations[1] is string, should be object"]),
        ([], ["the configuration is array, should be object"]),
    ],
)
def test_values_against_a_schema(values: Any, wrong: list[str]) -> None:
    """Values that EKS refuses would pass, or good ones be called wrong."""
    assert violations(values, OLD) == wrong


def test_what_is_missing_and_what_is_not_understood() -> None:
    """A setting that became required would be missed; a schema beyond what is understood would end in false alarms."""
    assert violations({}, NEW) == ["the configuration lacks owner"]
    assert violations({"x": 1}, {"properties": {"x": {"anyOf": [{"type": "string"}], "$ref": "other.json#/x"}}}) == []


def test_a_schema_that_refers_to_itself_ends() -> None:
    """A recursive schema would hang the plan."""
    schema = {"properties": {"child": {"$ref": "#"}}}
    assert changes(schema, schema) == []
    assert violations({"child": {"child": {}}}, schema) == []


def test_what_is_no_schema() -> None:
    """An empty answer of AWS would end in a traceback."""
    assert parse("") is None
    assert parse("[]") is None
    assert parse('{"a": 1}') == {"a": 1}


def test_the_plan_names_schema_changes() -> None:
    """Who configures CoreDNS would not learn from the plan that a setting goes."""
    addons = {"coredns": "v1.13.2-eksbuild.4"}
    schemas = {"coredns v1.13.2-eksbuild.4": json.dumps(OLD), "coredns v1.13.2-eksbuild.31": json.dumps(NEW)}
    found = make_plan(replace(world(addons=addons), addon_schemas=schemas), Target("1.35"), Knowledge.load())
    assert any(
        note.startswith("the configuration schema of add-on coredns changes from v1.13.2-eksbuild.4 to")
        and "corefile is gone; autoScaling is gone" in note
        for note in found.notes
    )
