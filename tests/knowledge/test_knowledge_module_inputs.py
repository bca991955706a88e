"""Keys of a node group's map that the community module drops without a word."""

from __future__ import annotations

import pytest

from baton.knowledge.module_inputs import unknown_inputs


def told(*keys: str, kind: str = "managed", line: int = 20, pinned: str = "20.8.4") -> list[str]:
    return [str(u) for u in unknown_inputs(keys, kind, line, pinned)]


@pytest.mark.parametrize(
    ("key", "line", "meant"),
    [
        ("node_group_name", 20, "name"),
        ("updateConfig", 20, "update_config"),
        ("update_configs", 19, "update_config"),
        ("ami", 18, "ami_id"),
        ("amiId", 21, "ami_id"),
        ("instance_type", 20, "instance_types"),
        ("desired_capacity", 19, "desired_size"),
        ("kubernetes_version", 20, "cluster_version"),
        ("cluster_version", 21, "kubernetes_version"),
        ("update_config.maxUnavailable", 20, "max_unavailable"),
        ("update_config.max_unavailble", 21, "max_unavailable"),
        ("update_config.update_strategy", 20, ""),
        ("something_else_entirely", 20, ""),
    ],
)
def test_a_key_that_does_nothing_is_told_with_the_one_that_was_meant(key: str, line: int, meant: str) -> None:
    """A pacing that is misspelt would be believed to be in force while nodes roll by the default."""
    found = unknown_inputs([key], "managed", line)
    assert [(u.key, u.known) for u in found] == [(key, meant)]
    assert "silently ignored" in str(found[0])


def test_inputs_that_came_later_are_told_for_exact_versions_only() -> None:
    """`~> 20.8` may well have become 20.37 by now: nothing can be said against it."""
    assert told("node_repair_config") == ["node_repair_config does nothing yet: the module knows it from 20.33.0 on"]
    assert told("node_repair_config", pinned="20.37.2") == []
    assert told("node_repair_config", pinned="~> 20.8") == []
    assert told("update_config.update_strategy", line=21, pinned="21.13.0") == [
        "update_config.update_strategy does nothing yet: the module knows it from 21.14.0 on"
    ]


@pytest.mark.parametrize("line", [0, 18, 19, 20, 21])
def test_what_every_release_reads_is_never_told(line: int) -> None:
    """A warning about a right key teaches people not to read warnings."""
    keys = "name ami_id ami_type instance_types min_size max_size desired_size labels taints tags update_config"
    nested = "update_config.max_unavailable update_config.max_unavailable_percentage timeouts.update"
    assert told(*keys.split(), *nested.split(), line=line, pinned="") == []
    assert told("min_size", "instance_type", "ami_id", kind="self-managed", line=line, pinned="") == []


def test_without_a_known_release_only_what_none_reads_is_told() -> None:
    """A module without a version constraint may be any release."""
    assert told("cluster_version", "kubernetes_version", line=0, pinned="") == []
    assert "the input is name" in told("node_group_name", line=0, pinned="")[0]
