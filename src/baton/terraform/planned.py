"""One entry of `resource_changes` in the JSON of a Terraform plan, and what of it may be shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SHOWN = ("version", "addon_version", "image_id", "release_version")  # values that may be shown when not sensitive


@dataclass(frozen=True, slots=True)
class PlannedChange:
    """One entry of resource_changes."""

    raw: Mapping[str, Any]

    @property
    def address(self) -> str:
        return str(self.raw.get("address", ""))

    @property
    def shown(self) -> str:
        deposed = self.raw.get("deposed")
        return f"{self.address} (deposed {deposed})" if deposed else self.address

    @property
    def type(self) -> str:
        return str(self.raw.get("type", ""))

    @property
    def actions(self) -> tuple[str, ...]:
        return tuple(self.raw.get("change", {}).get("actions", ()))

    @property
    def action(self) -> str:
        return "replace" if {"create", "delete"} <= set(self.actions) else "+".join(self.actions) or "none"

    @property
    def before(self) -> Mapping[str, Any]:
        return self.raw["change"].get("before") or {}

    @property
    def after(self) -> Mapping[str, Any]:
        return self.raw["change"].get("after") or {}

    @property
    def unknown(self) -> Mapping[str, Any]:
        found = self.raw["change"].get("after_unknown")
        return found if isinstance(found, dict) else {}

    def attributes(self) -> tuple[str, ...]:
        """Top-level attributes that differ or will only be known after apply."""
        keys = dict.fromkeys([*self.before, *self.after, *self.unknown])
        return tuple(k for k in keys if any_true(self.unknown.get(k)) or self.before.get(k) != self.after.get(k))

    def sensitive(self, attribute: str) -> bool:
        change = self.raw["change"]
        for side in ("before_sensitive", "after_sensitive"):
            marks = change.get(side)
            if marks is True or (isinstance(marks, dict) and any_true(marks.get(attribute))):
                return True
        return False

    def show(self, attribute: str) -> str:
        """`version "1.34" -> "1.35"`; only the name for what is sensitive or no version."""
        if attribute not in SHOWN or self.sensitive(attribute):
            return attribute
        after = "(known after apply)" if any_true(self.unknown.get(attribute)) else f'"{self.after.get(attribute)}"'
        return f'{attribute} "{self.before.get(attribute)}" -> {after}'

    def plain(self, attribute: str) -> str:
        """The value that is planned, for a sentence; never one that is sensitive."""
        if self.sensitive(attribute):
            return "a sensitive value"
        return str(self.after.get(attribute) or "none")

    def forced_by(self) -> tuple[str, ...]:
        """The attributes that force a replacement, dotted."""
        paths = self.raw["change"].get("replace_paths") or []
        return tuple(".".join(str(step) for step in path) for path in paths)


def full(value: Any) -> Any:
    """The value without what is empty in it: null, "", 0, false, [] and {} say the same after a refresh."""
    if isinstance(value, Mapping):
        return {k: f for k, v in value.items() if (f := full(v)) not in (None, "", [], {})} or None
    if isinstance(value, (list, tuple)):
        return [full(v) for v in value] or None
    return value or None


def any_true(marks: Any) -> bool:
    """Whether something in `after_unknown` or `after_sensitive` is marked."""
    if isinstance(marks, Mapping):
        return any(any_true(v) for v in marks.values())
    if isinstance(marks, (list, tuple)):
        return any(any_true(v) for v in marks)
    return marks is True


def block(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The first block `name` of a resource's values."""
    found = values.get(name)
    return found[0] if isinstance(found, list) and found and isinstance(found[0], dict) else {}
