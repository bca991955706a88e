"""The corpus in tests/cases/terraform: one file per configuration, its files, and what Baton makes of it.

    python tests/terraform/terraform_cases.py --write     writes the `expect` part anew: read the diff before committing

A case is text: `# what it is`, then `-- NAME --` and that file's lines, and so on; `[crlf]` after the name means
Windows line endings. `-- expect --` holds what was found (with file and line), then the diffs of moving the cluster to
1.35, its written add-ons to a newer version and its node groups to ami-0fffffffffffffffff
(golden-eks-1.35-v20261101), or the refusal.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from baton.errors import BatonError
from baton.model.plan import Change, Plan, Stage, StageKind
from baton.planner.store import digest
from baton.terraform.inspect import inspect
from baton.terraform.inspection import ClusterConfig, GroupConfig, Inspection, Traced
from baton.terraform.stages import weave

FOLDER = Path(__file__).parent.parent / "cases" / "terraform"
NEW_AMI, NEW_NAME, NEW_ADDON = "ami-0fffffffffffffffff", "golden-eks-1.35-v20261101", "v9.9.9-eksbuild.1"


@dataclass(frozen=True)
class Case:
    name: str
    about: str
    files: dict[str, bytes]
    expect: str

    def lay_out(self, folder: Path) -> Path:
        """The files of the case in a folder."""
        for name, data in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return folder


def read(path: Path) -> Case:
    parts = re.split(r"^-- (\S+)( \[crlf\])? --\n", path.read_text(), flags=re.M)
    files, expect = {}, ""
    for name, crlf, text in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        if name == "expect":
            expect = text
        else:
            files[name] = (text.replace("\n", "\r\n") if crlf else text).encode()
    return Case(path.stem, parts[0].strip("# \n"), files, expect)


def cases() -> list[Case]:
    return [read(p) for p in sorted(FOLDER.glob("*.txt"))]


def outcome(root: Path) -> str:
    """What Baton makes of a root, as the `expect` part says it."""
    try:
        found = inspect(root)
        return (
            "\n".join([*_found(found), *_moves(found, root)]).replace(str(root) + "/", "").replace(str(root), ".")
            + "\n"
        )
    except BatonError as error:
        return _refusal(error, root) + "\n"


def _refusal(error: BatonError, root: Path) -> str:
    text = f"refused: {error.message}" + (f" [{error.where}]" if error.where else "")
    return "\n".join(line.rstrip() for line in text.replace(str(root) + "/", "").replace(str(root), ".").splitlines())


def _found(found: Inspection) -> Iterator[str]:
    for cluster in found.clusters:
        yield f"cluster {cluster.address} {_value(cluster.name)}: version {_value(cluster.version)}"
        for addon in cluster.addons:
            kind = " most_recent" if addon.most_recent else ""
            written = _value(addon.version) if addon.version.set else "follows" if addon.follows else "unset"
            yield f"  add-on {addon.name}: {written}{kind}"
        for group in cluster.node_groups:
            image = (
                f"{group.ami.kind} {_value(group.ami.value)}" if group.ami.kind != "eks-optimised" else "eks-optimised"
            )
            yield f"  {group.kind} group {group.name}{'-*' if group.prefixed else ''}: {image}{_pace(group)}"
    for gap in found.unresolved:
        yield f"unresolved {gap.what} at {gap.where}: {gap.why}"


def _pace(group: GroupConfig) -> str:
    for key in ("max_unavailable", "max_unavailable_percentage"):
        value: Traced = getattr(group, key)
        if value.set:
            return f", {key} {value.value}"
    return ""


def _value(value: Traced) -> str:
    if value.value is None:
        return f"? ({value.why})" if value.why else "unset"
    span = value.span
    return f"{value.value} at {span.file}:{span.line}" if span is not None else str(value.value)


def _moves(found: Inspection, root: Path) -> Iterator[str]:
    for cluster in found.clusters:
        yield f"to 1.35: {cluster.address}"
        try:
            plan = weave(plan_for(cluster), found, cluster=cluster.address)
        except BatonError as error:
            yield _refusal(error, root)
            continue
        for stage in plan.stages:
            yield f"stage {stage.ordinal} {stage.kind.value}: {', '.join(stage.addresses)}"
            if stage.diff:
                yield stage.diff.replace("\r", "").rstrip()


def plan_for(cluster: ClusterConfig) -> Plan:
    """Everything that is written moves by one version."""
    moves = [(StageKind.CONTROL_PLANE, "control plane", (Change("cluster", cluster.name.value or "", "1.34", "1.35"),))]
    written = [a for a in cluster.addons if a.version.set and a.version.value]
    if written:
        changes = tuple(Change("addon", a.name, a.version.value or "", NEW_ADDON) for a in written)
        moves.append((StageKind.ADDONS, "add-ons", changes))
    groups = [_move(g) for g in cluster.node_groups if g.kind == "managed"]
    if groups:
        moves.append((StageKind.NODE_GROUP, "node groups", tuple(groups)))
    stages = tuple(Stage(i + 1, kind, name, changes, "") for i, (kind, name, changes) in enumerate(moves))
    installed = {f"addon/{a.name}.version": a.version.value or "v1.0.0-eksbuild.1" for a in cluster.addons}
    name = cluster.name.value or ""
    return Plan(name, "1.34", "1.35", stages, facts=installed, facts_digest=digest(installed))


def _move(group: GroupConfig) -> Change:
    name = group.name + ("-20260101000000000000000001" if group.prefixed else "")
    kubelets = {"kubelet_from": "1.34", "kubelet_to": "1.35"}
    if group.ami.kind == "eks-optimised":
        return Change("node-group", name, "1.34", "1.35", attributes={"version": "1.35", **kubelets})
    image = {"image_id": NEW_AMI, "image_name": NEW_NAME, **kubelets}
    return Change("node-group", name, "1.34", NEW_AMI, attributes=image)


def write() -> None:
    for case in cases():
        path = FOLDER / f"{case.name}.txt"
        with tempfile.TemporaryDirectory() as folder:
            text = outcome(case.lay_out(Path(folder)))
        kept = path.read_text().partition("-- expect --\n")[0]
        path.write_text(f"{kept}-- expect --\n{text}")


if __name__ == "__main__":
    if "--write" in sys.argv:
        write()
    else:
        print(__doc__)
