"""Plans as tables: each row of tests/cases/planner is a situation and the path that is right for it, or the refusal."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from planner_world import custom_group, golden, node, optimised_group, world

from baton.errors import BatonError
from baton.knowledge.ami import parse_image
from baton.knowledge.tables import Knowledge
from baton.model.cluster import AddonRelease, Cluster, Image, NodeGroup, Snapshot, Unknown, UpdateConfig, VersionInfo
from baton.model.plan import Plan, Stage, StageKind
from baton.model.target import ImageFilter, Target
from baton.planner.plan import make_plan

CASES = Path(__file__).resolve().parent.parent / "cases" / "planner"
KEYS = {
    *("why", "from", "to", "nodes", "others", "addons", "releases", "policy", "pins", "options", "images", "filter"),
    *("ami", "pacing", "together", "today", "offered", "unread", "path", "by_hand", "notes", "refused", "hint"),
}
OTHERS = {
    "self-managed": {},
    "fargate": {"eks.amazonaws.com/compute-type": "fargate"},
    "hybrid": {"eks.amazonaws.com/compute-type": "hybrid"},
    "auto": {"eks.amazonaws.com/compute-type": "auto"},
}


def rows() -> list[tuple[str, dict[str, Any]]]:
    found = []
    for path in sorted(CASES.glob("*.toml")):
        for at, row in enumerate(tomllib.loads(path.read_text()).get("case", ()), start=1):
            found.append((f"{path.stem}-{at}", row))
    return found


def span(text: str) -> list[str]:
    """`1.31-1.34` -> 1.31, 1.32, 1.33, 1.34."""
    first, last = (int(v.split(".")[1]) for v in text.split("-"))
    return [f"1.{n}" for n in range(first, last + 1)]


def releases_of(listed: Mapping[str, list[str]]) -> tuple[AddonRelease, ...]:
    found = []
    for name, lines in listed.items():
        for line in lines:
            version, fits, *default = line.split()
            found.append(AddonRelease(name, version, tuple(span(fits)), tuple(d.lstrip("*") for d in default)))
    return tuple(found)


def image_of(text: str) -> Image:
    name, *words = text.split()
    said = dict(w.split("=") for w in words)
    tags = {"KubernetesVersion": said["k8s"]} if "k8s" in said else {}
    tags |= {k.removeprefix("tag:"): v for k, v in said.items() if k.startswith("tag:")}
    fields: dict[str, Any] = {"tags": tags}
    fields |= {k: said[w] for k, w in (("architecture", "arch"), ("state", "state"), ("owner", "owner")) if w in said}
    date = "".join(c for c in name if c.isdigit())[-8:]
    return replace(golden("1.0"), id=f"ami-{name}", name=name, created_at=f"{date}T00:00:00Z", **fields)


def group_of(name: str, text: str) -> tuple[NodeGroup, list[dict[str, Any]]]:
    """`1.31+1.33 x5 own` -> the group, and its nodes."""
    versions, *words = text.split()
    kubelets = versions.split("+")
    size = next((int(w[1:]) for w in words if w[0] == "x" and w[1:].isdigit()), max(3, len(kubelets)))
    own = next((w for w in words if w.split("=")[0] == "own"), None)
    if own is not None:
        image = image_of(own.partition("=")[2] or f"golden-eks-{kubelets[0]}-v20261101")
        group = custom_group(name, image, size, version=kubelets[0])
    else:
        kind = next((w for w in words if w[0] != "x"), "AL2023_x86_64_STANDARD")
        group = optimised_group(name, kubelets[0], size, ami_type=kind)
    count = len(kubelets) if len(kubelets) > 1 else size
    return group, [node(f"{name}-{n}", name, kubelets[n % len(kubelets)]) for n in range(count)]


def snapshot_of(row: Mapping[str, Any]) -> Snapshot:
    made = [group_of(name, text) for name, text in row.get("nodes", {"main": row["from"]}).items()]
    outside = []
    for who, kubelet in row.get("others", {}).items():
        labels = {"karpenter.sh/nodepool": who.split()[1]} if who.startswith("karpenter ") else OTHERS[who]
        outside.append(node(who.replace(" ", "-"), "", kubelet, **labels))
    listed = tomllib.loads((CASES / "releases.toml").read_text()) | row.get("releases", {})
    offered = [VersionInfo(v, "STANDARD_SUPPORT") for v in span(row["offered"])] if "offered" in row else []
    images = row.get("images", [f"golden-eks-1.{n}-v20261101" for n in range(28, 38)])
    return world(
        row["from"],
        [group for group, _ in made],
        row.get("addons", {}),
        [image_of(text) for text in images],
        [n for _, nodes in made for n in nodes] + outside,
        taken_at=datetime.fromisoformat(row.get("today", "2026-11-23")).replace(tzinfo=UTC).timestamp(),
        cluster=Cluster("demo", row["from"], "ACTIVE"),
        addon_releases=releases_of(listed),
        versions=tuple(offered),
        unknowns=tuple(Unknown(what, why) for what, why in row.get("unread", {}).items()),
    )


def pacing_of(text: str) -> UpdateConfig:
    return UpdateConfig(None, int(text[:-1])) if text.endswith("%") else UpdateConfig(int(text))


def target_of(row: Mapping[str, Any]) -> Target:
    return Target(
        row["to"],
        nodes_every_hop="nodes-every-hop" in row.get("options", ()),
        addon_policy=row.get("policy", "default"),
        addon_pins=row.get("pins", {}),
        images=row.get("ami", {}),
        update_configs={name: pacing_of(text) for name, text in row.get("pacing", {}).items()},
    )


def plan_of(row: Mapping[str, Any]) -> Plan:
    snapshot = snapshot_of(row)
    filters = {}
    if "filter" in row:
        pattern, *words = row["filter"].split()
        owners = tuple(w.removeprefix("owner=") for w in words if w.startswith("owner=")) or ("self",)
        also = {k: (v,) for k, _, v in (w.partition("=") for w in words) if k.startswith("tag:") or k == "architecture"}
        filters = {g.name: ImageFilter(pattern, owners, "one" not in words, also=also) for g in snapshot.node_groups}
    together = [row["together"]] if "together" in row else []
    return make_plan(snapshot, target_of(row), Knowledge.load(), images=filters, together=together)


def told(stage: Stage) -> str:
    """A stage as the tables write it."""
    if stage.kind is StageKind.CONTROL_PLANE:
        return f"control plane {stage.changes[0].to}"
    if stage.kind is StageKind.ADDONS:
        return "add-ons: " + ", ".join(f"{c.name} {c.to}" for c in stage.changes)
    names = ", ".join(c.name for c in stage.changes)
    if stage.kind is StageKind.UPDATE_CONFIG:
        return f"pacing: {names}"
    images = " ".join(dict.fromkeys(c.attributes.get("image_name", "") for c in stage.changes))
    return f"nodes: {names} {stage.changes[0].attributes['kubelet_to']} {images}".rstrip()


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in rows()])
def test_the_path_of_the_table(row: dict[str, Any]) -> None:
    """In this situation an engineer would be led another way than the one that is right."""
    assert set(row) <= KEYS, f"unknown keys {set(row) - KEYS}"
    assert row["why"]
    if "refused" in row:
        with pytest.raises(BatonError) as caught:
            plan_of(row)
        assert row["refused"] in caught.value.message
        assert row.get("hint", "") in (caught.value.hint or "")
        return
    plan = plan_of(row)
    assert [told(s) for s in plan.stages] == row["path"], row["why"]
    assert all(s.reason for s in plan.stages)
    for part in row.get("notes", ()):
        assert any(part in note for note in plan.notes), plan.notes
    for stage in plan.stages:
        beginnings = row.get("by_hand", {}).get(told(stage), () if "by_hand" in row else stage.by_hand)
        assert len(beginnings) == len(stage.by_hand), stage.by_hand
        assert all(text.startswith(b) for text, b in zip(stage.by_hand, beginnings, strict=True)), stage.by_hand


def test_the_tables_hold_what_they_promise() -> None:
    """A table that lost its rows would pass in silence."""
    found = rows()
    assert len(found) >= 60
    assert sum("refused" in row for _, row in found) >= 20
    assert len({row["why"] for _, row in found}) == len(found)
    assert all(parse_image(f"golden-eks-1.{n}-v20261101").kubernetes is not None for n in range(28, 38))
