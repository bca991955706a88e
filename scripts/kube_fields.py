"""Writes src/baton/emulator/kube/data/fields.json: the fields of the kinds the emulator serves, and their types.

Read off the models of the official Python client (the dev extra), which are generated from the API's own OpenAPI
document. Run it after an upgrade of that client: `python scripts/kube_fields.py`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import kubernetes.client.models as models

from baton.emulator.kube.registry import KINDS

TARGET = Path(__file__).parents[1] / "src/baton/emulator/kube/data/fields.json"
SIMPLE = {
    "str": "s",
    "int": "i",
    "bool": "b",
    "float": "n",
    "datetime": "t",
    "object": "o",
    "date": "t",
    "bytearray": "s",
    "bytes": "s",
}
INT64 = re.compile(
    r"^(generation|observedGeneration|.*GracePeriodSeconds|activeDeadlineSeconds|runAsUser|runAsGroup|fsGroup"
    r"|tolerationSeconds|expirationSeconds|sizeBytes|startingDeadlineSeconds|collisionCount64)$"
)
QUANTITIES = {
    "limits", "requests", "capacity", "allocatable", "hard", "used", "overhead", "allocatedResources", "max", "min",
    "default", "defaultRequest", "maxLimitRequestRatio", "podFixed",
}  # fmt: skip
QUANTITY = {"sizeLimit", "divisor", "maximumVolumeSize", "averageValue"}
INT_OR_STRING = {"maxUnavailable", "maxSurge", "minAvailable", "targetPort", "port"}


def model_of(kind: Any) -> str | None:
    """The client's class of a served kind."""
    if kind.kind == "Event":
        return "EventsV1Event" if kind.group else "CoreV1Event"
    name = f"{kind.version[0].upper()}{kind.version[1:]}{kind.kind}"
    return name if hasattr(models, name) else None


def coded(name: str, text: str, wanted: list[str]) -> str:
    """The type of a field: s i l b n t o q x, a model's name, [T for a list, {T for a map."""
    if text.startswith(("list[", "List[")):
        return "[" + coded("", text[5:-1], wanted)
    if text.startswith(("dict(", "Dict[")):
        inner = text[5:-1].split(", ", 1)[1]
        return "{q" if name in QUANTITIES and inner == "str" else "{" + coded("", inner, wanted)
    if text == "object" and name in INT_OR_STRING:
        return "x"
    if text == "int" and INT64.match(name):
        return "l"
    if text == "str" and name in QUANTITY:
        return "q"
    if text in SIMPLE:
        return SIMPLE[text]
    wanted.append(text)
    return text


def main() -> None:
    roots: dict[str, str] = {}
    wanted: list[str] = []
    for kind in KINDS:
        name = model_of(kind)
        if name is not None:
            roots[kind.resource] = name
            wanted.append(name)
    roots |= {
        "events.events.k8s.io": "EventsV1Event",
        "eviction": "V1Eviction",
        "deleteoptions": "V1DeleteOptions",
        "scale": "V1Scale",
    }
    wanted += roots.values()
    types: dict[str, dict[str, str]] = {}
    while wanted:
        name = wanted.pop()
        if name in types:
            continue
        model = getattr(models, name)
        types[name] = {}
        for attribute, text in model.openapi_types.items():
            field = model.attribute_map[attribute]
            types[name][field] = coded(field, text, wanted)
    lines = [f'"kinds":{json.dumps(roots, separators=(",", ":"))}']
    lines.append('"types":{\n' + ",\n".join(
        f"{json.dumps(n)}:{json.dumps(types[n], separators=(',', ':'))}" for n in sorted(types)
    ) + "\n}")  # fmt: skip
    TARGET.write_text("{" + ",\n".join(lines) + "}\n")


if __name__ == "__main__":
    main()
