"""Writes src/baton/emulator/kube/data/protobuf.json: the field numbers of the kinds that kubectl sends as protobuf.

    python scripts/kube_protobuf.py API APIMACHINERY

API and APIMACHINERY are checkouts of github.com/kubernetes/api and github.com/kubernetes/apimachinery (their
generated.proto files are read). Types: s text, y bytes, i number, b truth, d double, T time, q quantity, x int or
string, [t list, {t map with text keys, else the name of a message; a field whose name begins with ^ is part of its
holder.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from baton.emulator.kube.registry import KINDS

TARGET = Path(__file__).parents[1] / "src/baton/emulator/kube/data/protobuf.json"
SCALARS = {
    "string": "s", "bytes": "y", "int32": "i", "int64": "i", "uint32": "i", "uint64": "i", "bool": "b", "double": "d",
}  # fmt: skip
SPECIAL = {"meta.v1.Time": "T", "meta.v1.MicroTime": "T", "resource.Quantity": "q", "intstr.IntOrString": "x"}
INLINE = {
    "volumeSource",
    "localObjectReference",
    "handler",
    "ephemeralContainerCommon",
    "persistentVolumeSource",
    "ingressRuleValue",
}
MORE = (
    ("policy/v1", "Eviction", "policy.v1.Eviction"),
    ("v1", "DeleteOptions", "meta.v1.DeleteOptions"),
    ("meta.k8s.io/v1", "DeleteOptions", "meta.v1.DeleteOptions"),
    ("policy/v1", "DeleteOptions", "meta.v1.DeleteOptions"),
    ("authorization.k8s.io/v1", "SelfSubjectAccessReview", "authorization.v1.SelfSubjectAccessReview"),
    ("authorization.k8s.io/v1", "SelfSubjectRulesReview", "authorization.v1.SelfSubjectRulesReview"),
    ("authentication.k8s.io/v1", "SelfSubjectReview", "authentication.v1.SelfSubjectReview"),
    ("autoscaling/v1", "Scale", "autoscaling.v1.Scale"),
)
MESSAGE = re.compile(r"^message (\w+) \{(.*?)^\}", re.M | re.S)
FIELD = re.compile(r"^  (?:(optional|repeated) ([\w.]+)|map<string, ([\w.]+)>) (\w+) = (\d+);", re.M)


def read(root: Path) -> dict[str, dict[int, tuple[str, str]]]:
    """Every message of a tree: name -> number -> (field, type)."""
    found: dict[str, dict[int, tuple[str, str]]] = {}
    for path in sorted(root.rglob("generated.proto")):
        text = path.read_text()
        package = short(re.search(r"^package ([\w.]+);", text, re.M)[1])  # type: ignore[index]
        for name, body in MESSAGE.findall(text):
            fields: dict[int, tuple[str, str]] = {}
            for label, plain, value, field, number in FIELD.findall(body):
                kind = coded(value or plain, package)
                prefix = "{" if value else "[" if label == "repeated" else ""
                fields[int(number)] = ("^" + field if field in INLINE else field, prefix + kind)
            found[f"{package}.{name}"] = fields
    return found


def short(package: str) -> str:
    """`k8s.io.api.core.v1` -> `core.v1`, `k8s.io.apimachinery.pkg.api.resource` -> `resource`."""
    package = package.removeprefix("k8s.io.api.").removeprefix("k8s.io.apimachinery.pkg.")
    return package.removeprefix("apis.").removeprefix("api.").removeprefix("util.")


def coded(name: str, package: str) -> str:
    if name in SCALARS:
        return SCALARS[name]
    full = short(name.lstrip(".")) if "." in name else f"{package}.{name}"
    return SPECIAL.get(full, full)


def main() -> None:
    messages = {**read(Path(sys.argv[2])), **read(Path(sys.argv[1]))}
    kinds: dict[str, str] = {}
    for kind in KINDS:
        name = f"{kind.group.partition('.')[0] or 'core'}.{kind.version}.{kind.kind}"
        if name in messages:
            kinds[f"{kind.api_version} {kind.kind}"] = name
    kinds |= {f"{version} {kind}": name for version, kind, name in MORE}
    wanted, kept = list(kinds.values()), {}
    while wanted:
        name = wanted.pop()
        if name in kept:
            continue
        kept[name] = {str(n): list(f) for n, f in messages[name].items()}
        wanted += [t.lstrip("[{") for _, t in messages[name].values() if t.lstrip("[{") in messages]
    body = ",\n".join(f"{json.dumps(n)}:{json.dumps(kept[n], separators=(',', ':'))}" for n in sorted(kept))
    TARGET.write_text(f'{{"kinds":{json.dumps(kinds, separators=(",", ":"))},\n"messages":{{\n{body}\n}}}}\n')


if __name__ == "__main__":
    main()
