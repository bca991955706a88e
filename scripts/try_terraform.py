"""Try `inspect` and the edits of a whole upgrade on folders of Terraform from elsewhere; prints a row of a table each.

    python scripts/try_terraform.py FOLDER...     -v also prints each root with what was found and what was refused

Every folder below with .tf files or a terragrunt.hcl counts as a root. For each cluster the control plane, the written
add-ons and all managed groups are moved to 1.35 in memory; nothing is written. An edit is *wrong* when Terraform (its
fmt, when it is on PATH) no longer takes the text or would now format it otherwise, when the last stage ends at another
version, or when at the end more differs than values and versions that were not written before.
"""

from __future__ import annotations

import difflib
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests" / "terraform")]

from terraform_cases import plan_for  # noqa: E402

from baton.errors import BatonError  # noqa: E402
from baton.model.plan import Plan  # noqa: E402
from baton.terraform.edit import edited  # noqa: E402
from baton.terraform.inspect import again, inspect  # noqa: E402
from baton.terraform.inspection import ClusterConfig, Inspection  # noqa: E402
from baton.terraform.stages import weave  # noqa: E402

COLUMNS = (
    "roots",
    "clusters",
    "version traced",
    "groups",
    "image traced",
    "add-ons",
    "woven",
    "wrong",
    "refused",
    "unread",
)


def roots(folder: Path) -> list[Path]:
    found = {p.parent for p in [*folder.rglob("*.tf"), *folder.rglob("*.tf.json"), *folder.rglob("terragrunt.hcl")]}
    return sorted(p for p in found if ".terraform" not in p.parts)


def judge(folder: Path, verbose: bool) -> Counter[str]:
    count: Counter[str] = Counter()
    for root in roots(folder):
        count["roots"] += 1
        try:
            found = inspect(root)
        except BatonError as error:
            count["unread"] += 1
            _say(verbose, f"{root}: not read: {error.where}: {error.message.splitlines()[0]}")
            continue
        for cluster in found.clusters:
            count += Counter(_counted(cluster))
            _one(root, found, cluster, count, verbose)
    return count


def _counted(cluster: ClusterConfig) -> dict[str, int]:
    traced = [g for g in cluster.node_groups if g.ami.kind == "eks-optimised" or g.ami.value.value is not None]
    return {
        "clusters": 1,
        "version traced": int(cluster.version.value is not None or not cluster.version.set),
        "groups": len(cluster.node_groups),
        "image traced": len(traced),
        "add-ons": len(cluster.addons),
    }


def _one(root: Path, found: Inspection, cluster: ClusterConfig, count: Counter[str], verbose: bool) -> None:
    try:
        plan = weave(plan_for(cluster), found, cluster=cluster.address)
    except BatonError as error:
        count["refused"] += 1
        _say(verbose, f"{root}: {cluster.address}: refused: {error.where}: {error.message}\n    {error.hint}")
        return
    count["woven"] += 1
    wrong = list(_wrong(found, cluster, plan))
    count["wrong"] += bool(wrong)
    for text in wrong:
        print(f"{root}: {cluster.address}: WRONG: {text}")
    _say(verbose, f"{root}: {cluster.address}: {sum(len(s.edits) for s in plan.stages)} edits")


def _wrong(found: Inspection, cluster: ClusterConfig, plan: Plan) -> Iterator[str]:
    first: dict[str, bytes] = {}
    texts: dict[str, bytes] = {}
    for stage in plan.stages:
        before = {e.file: texts.get(e.file) or found.files.text(e.file) for e in stage.edits}
        first = {**before, **first}
        after = edited(before, stage.edits)
        for name, text in after.items():
            if name.endswith((".tf", ".tfvars")) and _formatted(before[name]) != _formatted(text):
                yield f"stage {stage.ordinal}: {name} is taken or formatted otherwise"
        texts |= after
    last = again(found, texts)
    end = next(c for c in last.clusters if c.address == cluster.address)
    if end.version.value != "1.35":
        yield f"the cluster ends at {end.version.value}"
    for group in end.node_groups:
        version = group.version.value or (end.version.value if group.version_from_cluster else None)
        if (
            group.kind == "managed"
            and group.ami.kind == "eks-optimised"
            and version != "1.35"
            and not group.version.ref
        ):
            yield f"node group {group.name} ends at {version}"
    for name, text in first.items():
        yield from _other_lines(name, text.decode().splitlines(), texts[name].decode().splitlines())


def _other_lines(name: str, old: list[str], new: list[str]) -> Iterator[str]:
    for tag, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        written = [line for line in new[c:d] if line.strip()]
        if tag != "equal" and (b - a != d - c) and not all("ersion" in line for line in written):
            yield f"{name}: {old[a:b]} became {new[c:d]}"


def _formatted(text: bytes) -> tuple[int, bool]:
    """(exit code, whether fmt would leave it so); always the same without Terraform."""
    if shutil.which("terraform") is None:
        return 0, True
    done = subprocess.run(["terraform", "fmt", "-no-color", "-"], input=text, capture_output=True, check=False)
    return done.returncode, done.stdout == text


def _say(verbose: bool, text: str) -> None:
    if verbose:
        print(text)


def main() -> int:
    verbose = "-v" in sys.argv
    folders = [Path(a) for a in sys.argv[1:] if a != "-v"]
    if not folders:
        print(__doc__)
        return 2
    print(f"| source | {' | '.join(COLUMNS)} |\n| --- |{' ---: |' * len(COLUMNS)}")
    for folder in folders:
        count = judge(folder, verbose)
        print(f"| {folder.name} | {' | '.join(str(count[c]) for c in COLUMNS)} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
