"""A plan as JSON, the facts it stands on, and whether the world has moved since."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from baton.errors import ReadError
from baton.logic.upgrade.images import current_image_id, newest, passes
from baton.model import nodes
from baton.model.cluster import Image, Snapshot
from baton.model.plan import PLAN_SCHEMA, Change, Edit, Plan, Stage, StageKind, Support, VersionSupport
from baton.model.target import ImageFilter


def facts_of_snapshot(snapshot: Snapshot) -> dict[str, str]:
    """What a plan depends on and what does not move by itself: versions, images, pacing. Not sizes or pods."""
    cluster = snapshot.cluster
    facts = {"cluster.name": cluster.name, "cluster.version": cluster.version}
    for addon in snapshot.addons:
        facts[f"addon/{addon.name}.version"] = addon.version
    for group in snapshot.node_groups:
        key = f"node-group/{group.name}"
        config = group.update_config
        facts[f"{key}.ami_type"] = group.ami_type
        if group.custom_ami:
            facts[f"{key}.image"] = current_image_id(snapshot, group)
        facts[f"{key}.pacing"] = (
            f"max_unavailable_percentage {config.max_unavailable_percentage}"
            if config.max_unavailable_percentage is not None
            else f"max_unavailable {config.max_unavailable or 1}"
        ) + ("" if config.strategy == "DEFAULT" else f", {config.strategy}")
        if not group.custom_ami:
            facts[f"{key}.version"] = group.version
    kubelets: dict[str, Counter[str]] = {}
    for node in snapshot.objects.get("nodes", ()):
        minor = nodes.kubelet(node)
        kubelets.setdefault(nodes.owner(node), Counter())[str(minor or "unknown")] += 1
    for who, counts in kubelets.items():
        facts[f"{who.replace('node group ', 'node-group/')}.kubelets"] = ", ".join(sorted(counts))
    return dict(sorted(facts.items()))


def digest(facts: Mapping[str, str]) -> str:
    """SHA-256 over the facts, in hex."""
    return hashlib.sha256(json.dumps(dict(sorted(facts.items()))).encode()).hexdigest()


def moved(plan: Plan, snapshot: Snapshot) -> tuple[str, ...]:
    """What differs between the facts of the plan and the world now, one line each; () when nothing does.

    What the plan's own stages bring about is no difference: a plan half carried out still holds.
    """
    now = facts_of_snapshot(snapshot)
    lines = list(_images_moved(plan, snapshot))
    if digest(now) == plan.facts_digest:
        return tuple(lines)
    own = _brought_about(plan)
    for key in sorted({*plan.facts, *now}):
        old, new = plan.facts.get(key), now.get(key)
        if old == new or _expected(old, new, own.get(key, set())):
            continue
        lines.append(f"{key} was {old or 'not there'}, is {new or 'gone'}")
    return tuple(lines)


def _images_moved(plan: Plan, snapshot: Snapshot) -> Iterator[str]:
    """Images of the plan that are gone, and filters that would find another one by now."""
    there = {i.id: i for i in snapshot.images}
    if not there:
        return  # they were not read: the planner's own reading was refused then
    for change in (c for s in plan.stages if s.kind is StageKind.NODE_GROUP for c in s.changes):
        image_id, pattern = change.attributes.get("image_id", ""), change.attributes.get("image_pattern", "")
        group = snapshot.node_group(change.name)
        if not image_id or group is None or current_image_id(snapshot, group) == image_id:
            continue
        image, filter_ = there.get(image_id), ImageFilter(pattern)
        name = change.attributes.get("image_name", "")
        if image is None or image.state != "available":
            yield f"image {name} ({image_id}) of node group {change.name} was available, is {_state(image)}"
        elif pattern and filter_.matches(image.name):
            also = _filters_of(change)
            found = [i for i in snapshot.images if filter_.matches(i.name) and i.owner == image.owner]
            found = [i for i in found if i.id == image_id or passes(i, also)]
            latest = newest([i for i in found if i.state == "available"])
            if latest.id != image_id:
                yield f"{pattern} of node group {change.name} found {image.name}, finds {latest.name} now"


def _filters_of(change: Change) -> dict[str, list[str]]:
    """The filters besides the name that found the change's image."""
    try:
        found = json.loads(change.attributes.get("image_filters", "{}"))
    except ValueError:
        return {}
    return {str(k): [str(x) for x in v] for k, v in found.items()} if isinstance(found, dict) else {}


def _state(image: Image | None) -> str:
    return "gone" if image is None else image.state


def _expected(old: str | None, new: str | None, own: set[str]) -> bool:
    """Values may be lists (`1.34, 1.35` while a group rolls): each must be old or the plan's own."""
    if old is None or new is None:
        return False
    return all(part in own or part in old.split(", ") for part in new.split(", "))


def _brought_about(plan: Plan) -> dict[str, set[str]]:
    own: dict[str, set[str]] = {}
    for stage in plan.stages:
        for change in stage.changes:
            if change.kind == "cluster":
                own.setdefault("cluster.version", set()).add(change.to)
            elif change.kind == "addon":
                own.setdefault(f"addon/{change.name}.version", set()).add(change.to)
            elif stage.kind is StageKind.UPDATE_CONFIG:
                own.setdefault(f"node-group/{change.name}.pacing", set()).update(change.to.split(", "))
            else:
                key = f"node-group/{change.name}"
                own.setdefault(f"{key}.kubelets", set()).add(change.attributes.get("kubelet_to", ""))
                own.setdefault(f"{key}.image", set()).add(change.attributes.get("image_id", ""))
                own.setdefault(f"{key}.version", set()).add(change.attributes.get("version", ""))
    return own


# --- the file --------------------------------------------------------------------------------------------------------


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """A JSON object; keys in camelCase, `schema` says its version."""
    return {
        "schema": plan.schema,
        "cluster": plan.cluster,
        "from": plan.from_version,
        "to": plan.to_version,
        "madeAt": plan.made_at,
        "factsDigest": plan.facts_digest,
        "facts": dict(plan.facts),
        "stages": [_stage_to(stage) for stage in plan.stages],
        "notes": list(plan.notes),
        "alternatives": list(plan.alternatives),
        "providers": dict(plan.providers),
        "support": None if plan.support is None else _support_to(plan.support),
    }


def _stage_to(stage: Stage) -> dict[str, Any]:
    return {
        "ordinal": stage.ordinal,
        "kind": stage.kind.value,
        "name": stage.name,
        "reason": stage.reason,
        "changes": [
            {
                "kind": c.kind,
                "name": c.name,
                "from": c.from_,
                "to": c.to,
                "reason": c.reason,
                "attributes": dict(c.attributes),
            }
            for c in stage.changes
        ],
        "edits": [
            {
                "file": e.file,
                "start": e.start,
                "end": e.end,
                "old": e.old,
                "new": e.new,
                "line": e.line,
                "why": e.why,
            }
            for e in stage.edits
        ],
        "diff": stage.diff,
        "addresses": list(stage.addresses),
        "targets": list(stage.targets),
        "byHand": list(stage.by_hand),
    }


def plan_from_json(data: Any, where: str = "plan") -> Plan:
    """The plan in a parsed JSON document. Raises ReadError, naming the part, for anything that is not one."""
    if not isinstance(data, dict):
        raise ReadError("a plan is a JSON object", where=where, hint="make one with `baton plan --json`")
    schema = data.get("schema")
    if schema != PLAN_SCHEMA:
        raise ReadError(
            f"the plan has schema {schema!r}, this Baton reads {PLAN_SCHEMA}",
            where=where,
            hint="make the plan again with this version of Baton",
        )
    try:
        plan = Plan(
            cluster=_str(data, "cluster"),
            from_version=_str(data, "from"),
            to_version=_str(data, "to"),
            stages=tuple(_stage_from(s) for s in _list(data, "stages")),
            notes=tuple(map(str, _list(data, "notes"))),
            alternatives=tuple(map(str, _list(data, "alternatives"))),
            facts_digest=_str(data, "factsDigest"),
            made_at=float(data["madeAt"]),
            facts=_strings(data, "facts"),
            providers=_strings(data, "providers") if "providers" in data else {},
            support=_support_from(data["support"]) if data.get("support") is not None else None,
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ReadError(f"the plan is not complete: {error}", where=where, hint="make the plan again") from error
    if digest(plan.facts) != plan.facts_digest:
        raise ReadError("the plan's facts do not match their digest", where=where, hint="make the plan again")
    return plan


def _stage_from(data: Any) -> Stage:
    return Stage(
        ordinal=int(data["ordinal"]),
        kind=StageKind(_str(data, "kind")),
        name=_str(data, "name"),
        changes=tuple(
            Change(
                _str(c, "kind"),
                _str(c, "name"),
                _str(c, "from"),
                _str(c, "to"),
                _str(c, "reason"),
                _strings(c, "attributes"),
            )
            for c in _list(data, "changes")
        ),
        reason=_str(data, "reason"),
        edits=tuple(
            Edit(
                _str(e, "file"),
                int(e["start"]),
                int(e["end"]),
                _str(e, "old"),
                _str(e, "new"),
                int(e["line"]),
                _str(e, "why"),
            )
            for e in _list(data, "edits")
        ),
        diff=_str(data, "diff"),
        addresses=tuple(map(str, _list(data, "addresses"))),
        targets=tuple(map(str, _list(data, "targets"))),
        by_hand=tuple(map(str, _list(data, "byHand"))) if "byHand" in data else (),
    )


def _support_to(support: Support) -> dict[str, Any]:
    def row(of: VersionSupport | None) -> dict[str, Any] | None:
        return None if of is None else {_CAMEL[k]: v for k, v in asdict(of).items()}

    return {
        "on": support.on,
        "now": row(support.now),
        "after": row(support.after),
        "savesPerMonth": support.saves_per_month,
    }


def _support_from(data: Any) -> Support:
    def row(of: Any) -> VersionSupport | None:
        if of is None:
            return None
        texts = {k: _str(of, name) for k, name in _CAMEL.items() if k != "per_month"}
        return VersionSupport(per_month=float(of["perMonth"]), **texts)

    return Support(_str(data, "on"), row(data["now"]), row(data["after"]), float(data["savesPerMonth"]))


_CAMEL = {
    "version": "version",
    "status": "status",
    "standard_until": "standardUntil",
    "extended_until": "extendedUntil",
    "forced_from": "forcedFrom",
    "per_month": "perMonth",
    "source": "source",
}


def _str(data: Mapping[str, Any], key: str) -> str:
    value = data[key]
    if not isinstance(value, str):
        raise TypeError(f"{key} is {value!r}, not a text")
    return value


def _list(data: Mapping[str, Any], key: str) -> list[Any]:
    value = data[key]
    if not isinstance(value, list):
        raise TypeError(f"{key} is {value!r}, not a list")
    return value


def _strings(data: Mapping[str, Any], key: str) -> dict[str, str]:
    value = data[key]
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise TypeError(f"{key} is not an object of texts")
    return value
