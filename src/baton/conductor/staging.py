"""Between plan and Terraform: facts for the checks, the edits of each stage, and the judgement of its plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from baton.model.cluster import Snapshot, UpdateConfig
from baton.model.plan import Plan, Stage
from baton.model.target import ImageFilter
from baton.model.terraform import TerraformFacts, TerraformGroup
from baton.terraform.inspection import ClusterConfig, GroupConfig, Inspection, Traced


def image_owners(inspection: Inspection | None, cluster: str) -> tuple[str, ...]:
    """The AMI owners that the Terraform's data sources name, besides our own account."""
    if inspection is None:
        return ()
    groups = _config(inspection, cluster).node_groups
    owners = {owner for g in groups for owner in g.ami.owners}
    return tuple(sorted(owners - {"self"}))


def image_filters(inspection: Inspection | None, snapshot: Snapshot) -> dict[str, ImageFilter]:
    """Node group (as EKS names it) to how its Terraform finds the image."""
    if inspection is None:
        return {}
    config = _config(inspection, snapshot.cluster.name)
    found = {}
    for group in snapshot.node_groups:
        written = config.group(group.name)
        image = None if written is None else _filter(written)
        if image is not None:
            found[group.name] = image
    return found


def _filter(group: GroupConfig) -> ImageFilter | None:
    ami = group.ami
    if ami.value.value is None or ami.kind not in ("data-aws-ami", "literal"):
        return None
    return ImageFilter(ami.value.value, ami.owners, ami.most_recent, ami.by == "name_regex")


def _config(inspection: Inspection, cluster: str) -> ClusterConfig:
    return inspection.cluster(cluster if len(inspection.clusters) > 1 else None)


def shared_images(inspection: Inspection | None, snapshot: Snapshot) -> tuple[tuple[str, ...], ...]:
    """Node groups whose image comes from one and the same literal: they can only move together."""
    if inspection is None:
        return ()
    config = _config(inspection, snapshot.cluster.name)
    by_literal: dict[tuple[object, ...], list[str]] = {}
    for group in snapshot.node_groups:
        written = config.group(group.name)
        if written is not None and written.ami.kind in ("data-aws-ami", "literal", "ssm"):
            span = written.ami.value.span
            if span is not None:
                by_literal.setdefault((span.file, span.start, span.end), []).append(group.name)
    return tuple(tuple(names) for names in by_literal.values() if len(names) > 1)


def terraform_facts(inspection: Inspection | None, snapshot: Snapshot) -> TerraformFacts | None:
    """What the checks ask of the Terraform."""
    if inspection is None:
        return None
    config = _config(inspection, snapshot.cluster.name)
    groups = []
    for group in snapshot.node_groups:
        written = config.group(group.name)
        if written is not None:
            groups.append(_group_facts(group.name, written))
    return TerraformFacts(
        cluster_version=config.version.value or "",
        groups=tuple(groups),
        addon_pins={a.name: a.version.value for a in config.addons if a.version.value},
        addons_most_recent=tuple(a.name for a in config.addons if a.most_recent),
    )


def _group_facts(name: str, written: GroupConfig) -> TerraformGroup:
    at_once, share = _number(written.max_unavailable), _number(written.max_unavailable_percentage)
    paced = at_once is not None or share is not None
    return TerraformGroup(
        name=name,
        address=written.address,
        image=_filter(written),
        update_config=UpdateConfig(at_once, share, written.strategy.value or "DEFAULT") if paced else None,
        update_timeout=duration(written.update_timeout.value),
        ignores_desired_size=written.ignores_desired_size,
        min_size=_number(written.min_size),
        force_update=written.force_update.value == "true",
    )


def _number(value: Traced) -> int | None:
    text = value.value
    return int(text) if text is not None and text.lstrip("-").isdigit() else None


def duration(text: str | None) -> float | None:
    """Terraform's `90m`, `1h30m`, in seconds; None for what is none."""
    import re

    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", text or "")
    if not parts:
        return None
    return sum(float(n) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[u] for n, u in parts)


__all__ = [
    "Callable",
    "Mapping",
    "Path",
    "Plan",
    "Sequence",
    "Stage",
    "image_filters",
    "image_owners",
    "replace",
    "shared_images",
    "terraform_facts",
]
Json = Mapping[str, Any]
