"""Write src/baton/knowledge/data/eks_module.json anew: what each release of the EKS module reads of a node group's map.

    python scripts/record_module_inputs.py CLONE

CLONE is a Git clone of terraform-aws-modules/terraform-aws-eks with its tags. Keys that old or new names stand for
(`renamed`) are kept as they are in the file.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parent.parent / "src" / "baton" / "knowledge" / "data" / "eks_module.json"
LINES = ("18", "19", "20", "21")
KINDS = {
    "managed": ("eks_managed_node_group", "eks_managed_node_groups"),
    "self-managed": ("self_managed_node_group", "self_managed_node_groups"),
}
NESTED = ("update_config", "timeouts")
Since = dict[str, str]  # key -> the first release of the line that reads it


def main(clone: Path) -> int:
    tags = [t for t in git(clone, "tag").split() if re.fullmatch(rf"v({'|'.join(LINES)})\.\d+\.\d+", t)]
    tags.sort(key=lambda t: tuple(map(int, t[1:].split("."))))
    document = json.loads(DATA.read_text())
    document["lines"] = {line: entry(clone, [t for t in tags if t[1:3] == line]) for line in LINES}
    text = json.dumps(document, indent=1)
    DATA.write_text(re.sub(r"\[[^\[\]{}]*\]", folded, text) + "\n")
    return 0


def git(clone: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", str(clone), *words], capture_output=True, text=True, check=True).stdout


def entry(clone: Path, tags: list[str]) -> dict[str, Any]:
    """One release line."""
    found: dict[str, Since] = {"managed": {}, "self-managed": {}, "managed-defaults": {}}
    nested: dict[str, Since] = {name: {} for name in NESTED}
    for tag in tags:
        for kind, keys in read(clone, tag, nested).items():
            for key in keys:
                found[kind].setdefault(key, tag[1:])
    first = tags[0][1:]
    kinds = {
        kind: {
            "inputs": sorted(k for k, since in keys.items() if since == first),
            "since": {k: since for k, since in sorted(keys.items()) if since != first},
        }
        for kind, keys in found.items()
        if keys
    }
    later = {f"{p}.{k}": since for p, keys in nested.items() for k, since in keys.items() if since != first}
    inside = {name: sorted(keys) for name, keys in nested.items()}
    return {"first": first, "last": tags[-1][1:], **kinds, "nested": inside, "nested_since": later}


def read(clone: Path, tag: str, nested: dict[str, Since]) -> dict[str, set[str]]:
    """What one release reads, by kind; keys of nested objects are added to `nested`."""
    groups = git(clone, "show", f"{tag}:node_groups.tf")
    if tag.startswith("v21"):
        variables = git(clone, "show", f"{tag}:variables.tf")
        found = {}
        for kind, (_, variable) in KINDS.items():
            types = typed(variables, variable)
            found[kind] = set(types)
            for name in NESTED:
                for key in types.get(name, ()):
                    nested[name].setdefault(key, tag[1:])
        return found
    found = {}
    for kind, (module, _) in KINDS.items():
        body = block(groups, f'module "{module}"')
        found[kind] = set(re.findall(r"each\.value\.(\w+)", body)) | set(re.findall(r'each\.value, "(\w+)"', body))
    body = block(groups, 'module "eks_managed_node_group"')
    defaults = "eks_managed_node_group_defaults"
    found["managed-defaults"] = {*re.findall(rf"{defaults}\.(\w+)", body), *re.findall(rf'{defaults}, "(\w+)"', body)}
    inside = git(clone, "show", f"{tag}:modules/eks-managed-node-group/main.tf")
    pacing = re.search(r'dynamic "update_config" \{.*?\n  \}', inside, re.S)
    for key, quoted in re.findall(r'update_config\.value(?:\.(\w+)|, "(\w+)")', pacing[0] if pacing else ""):
        nested["update_config"].setdefault(key or quoted, tag[1:])
    timeouts = re.search(r"^  timeouts \{.*?\n  \}", inside, re.S | re.M)
    for key in re.findall(r'"(\w+)"', timeouts[0] if timeouts else ""):
        nested["timeouts"].setdefault(key, tag[1:])
    return found


def block(text: str, head: str) -> str:
    found = re.search(rf"^{re.escape(head)} \{{.*?^\}}", text, re.M | re.S)
    return found[0] if found else ""


def typed(text: str, variable: str) -> dict[str, list[str]]:
    """The attributes of `map(object({ ... }))`, each with those of its own object."""
    found: dict[str, list[str]] = {}
    depth, parent = 0, ""
    for raw in block(text, f'variable "{variable}"').splitlines()[1:]:
        line = re.sub(r"#.*", "", raw).replace("{}", "")
        attribute = re.match(r"\s*(\w+)\s*=", line)
        if attribute and depth == 1:
            parent = attribute[1]
            found[parent] = []
        elif attribute and depth == 2 and parent:
            found[parent].append(attribute[1])
        depth += line.count("({") - len(re.findall(r"\}[)\]]", line))
    return found


def folded(listed: re.Match[str]) -> str:
    items = re.findall(r'"[^"]*"', listed[0])
    margin = 5 * " "
    return "[\n" + textwrap.fill(", ".join(items), 112, initial_indent=margin, subsequent_indent=margin) + "]"


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
