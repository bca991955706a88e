"""`terraform validate` of the corpus before and after each stage's edits, in one directory that is initialised once.

    python tests/terraform/terraform_validate.py      all cases; prints what was validated and what was not, and why

Each case is a module of one root, so that the provider's schema is loaded once per stage, not once per case. Modules
that are not in a case (of the registry, of git) are stood in for by an empty module with the inputs that the case
gives and the outputs that it reads, so that an edit cannot add an input that the module does not have.
"""

from __future__ import annotations

import json
import posixpath
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from terraform_cases import Case, cases, plan_for

from baton.errors import BatonError
from baton.model.plan import Edit
from baton.terraform.edit import apply
from baton.terraform.inspect import inspect
from baton.terraform.loading import Files
from baton.terraform.modules import Inputs, Module
from baton.terraform.roots import root_module
from baton.terraform.stages import weave
from baton.terraform.values import Value
from terraform_env import Terraform, TerraformTools, terraform_tools

VERSIONS = ("cluster_version", "kubernetes_version")  # what Baton may write at a call


@dataclass
class Yard:
    """A root with cases as its modules. `stages` are the edits of each case, `skipped` why a case is not in it."""

    root: Path
    stages: dict[str, list[tuple[Edit, ...]]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    _calls: list[str] = field(default_factory=list)
    _manifest: list[dict[str, str]] = field(default_factory=list)

    def add(self, case: Case) -> None:
        """Lay a case out, unless it cannot be validated here."""
        if any(n.endswith("terragrunt.hcl") for n in case.files):
            self.skipped[case.name] = "Terragrunt"
            return
        folder = case.lay_out(self.root / "cases" / case.name)
        try:
            found = inspect(folder)
            module, _ = root_module(Files(folder), (), "default", {})
            plan = weave(plan_for(found.clusters[0]), found, cluster=found.clusters[0].address)
        except (BatonError, IndexError) as error:
            self.skipped[case.name] = f"no upgrade is woven: {str(error).splitlines()[0]}"
            return
        other = _other_provider(case)
        if other:
            self.skipped[case.name] = f"provider {other} is not at hand"
            return
        self.stages[case.name] = [s.edits for s in plan.stages]
        self._call(case.name, module)

    def _call(self, name: str, module: Module) -> None:
        own = [n for n, b in module.directory.variables.items() if b.attribute("default") is None]
        key = f"case_{name.replace('-', '_')}"
        self._calls += [f'variable "{key}_{n}" {{}}' for n in own]
        self._calls.append(f'module "{key}" {{')
        self._calls += [f'  source = "./cases/{name}"', *(f"  {n} = var.{key}_{n}" for n in own), "}"]
        self._manifest.append({"Key": key, "Source": f"./cases/{name}", "Dir": f"cases/{name}"})
        self._stand_ins(module, key, f"cases/{name}")

    def _stand_ins(self, module: Module, key: str, path: str) -> None:
        texts = "\n".join(f.data.decode() for f in module.directory.files)
        for name, block in module.directory.modules.items():
            inner = f"{key}.{name}"
            written = block.attribute("source")
            source = written.file.text(written.expression).strip('"') if written is not None else ""
            if source.startswith(("./", "../")):  # also one that has no instance
                at = posixpath.normpath(f"{path}/{source}")
                self._manifest.append({"Key": inner, "Source": source, "Dir": at})
                directory = module.files.directory(posixpath.join(module.directory.path, source))
                assert directory is not None, source
                called = next((c.module for c in module.call(name) if c.module is not None), None)
                self._stand_ins(called or Module(module.files, directory, Inputs()), inner, at)
                continue
            for call in module.call(name)[:1]:
                outputs = set(re.findall(rf"module\.{name}(?:\[[^\]]*\])?\.(\w+)", texts))
                where = f"stand-ins/{inner}"
                self._write_stand_in(self.root / where, set(call.inputs.arguments), outputs)
                self._manifest.append(_entry(inner, call.source, call.version, where))

    def _write_stand_in(self, folder: Path, inputs: set[str], outputs: set[str]) -> None:
        taken = inputs - {"source", "version", "for_each", "count", "providers", "depends_on"}
        known = VERSIONS[1:] if "kubernetes_version" in taken else VERSIONS[:1]
        folder.mkdir(parents=True)
        lines = [f'variable "{n}" {{\n  type    = any\n  default = null\n}}' for n in sorted({*taken, *known})]
        lines += [f'output "{n}" {{\n  value = "1"\n}}' for n in sorted(outputs)]
        (folder / "main.tf").write_text("\n".join(lines) + "\n")

    def init(self, terraform: Terraform) -> None:
        (self.root / "main.tf").write_text("\n".join(self._calls) + "\n")
        folder = self.root / ".terraform" / "modules"
        folder.mkdir(parents=True)
        entries = [{"Key": "", "Source": "", "Dir": "."}, *self._manifest]
        (folder / "modules.json").write_text(json.dumps({"Modules": entries}))
        terraform.run("init", "-input=false", "-backend=false", "-get=false")

    def edit(self, number: int) -> int:
        """Make the edits of one stage of every case; how many cases have such a stage."""
        made = 0
        for name, stages in self.stages.items():
            if number < len(stages) and stages[number]:
                apply(self.root / "cases" / name, stages[number])
                made += 1
        return made


def _entry(key: str, source: str, version: Value | None, where: str) -> dict[str, str]:
    """As `terraform init` writes it."""
    if version is None:
        if source.startswith("github.com/"):
            source = "git::https://" + source.replace("?", ".git?")
        return {"Key": key, "Source": source, "Dir": where}
    host = "" if source.partition("//")[0].count("/") == 3 else "registry.terraform.io/"
    return {"Key": key, "Source": host + source, "Version": _exact(version.text().strip("~>= ")), "Dir": where}


def _exact(version: str) -> str:
    """`~> 20.8` as a version that it allows."""
    parts = [*version.split("."), "0", "0"][:3]
    return ".".join(parts) if version else "1.0.0"


def _other_provider(case: Case) -> str:
    text = "\n".join(d.decode() for n, d in case.files.items() if n.endswith((".tf", ".tf.json")))
    kinds = re.findall(r'^\s*(?:resource|data)\s+"([a-z0-9]+)_', text, re.M)
    kinds += re.findall(r'^\s*provider\s+"([a-z0-9]+)"', text, re.M)
    return next((k for k in kinds if k not in ("aws", "terraform")), "")


def complaints(root: Path, terraform: Terraform) -> frozenset[tuple[str, str]]:
    """(case, what is said of it) of every error."""
    done = subprocess.run(
        [terraform.binary, "validate", "-json"], cwd=root, env=terraform.environment, capture_output=True,
        text=True, check=False, timeout=300,
    )  # fmt: skip
    found = []
    for said in json.loads(done.stdout)["diagnostics"]:
        if said["severity"] == "error":
            name = said.get("range", {}).get("filename", "")
            found.append((name.partition("cases/")[2].partition("/")[0], f"{said['summary']}: {said['detail']}"))
    return frozenset(found)


def stages(yard: Yard, terraform: Terraform) -> Iterator[tuple[str, int, frozenset[tuple[str, str]]]]:
    """(what, how many cases were edited, complaints): first as written, then after each stage."""
    yield "as written", 0, complaints(yard.root, terraform)
    for number in range(max((len(s) for s in yard.stages.values()), default=0)):
        yield f"after stage {number + 1}", yard.edit(number), complaints(yard.root, terraform)


def yard(root: Path, chosen: Iterable[Case], tools: TerraformTools) -> tuple[Yard, Terraform]:
    """The cases in `root`, initialised."""
    made = Yard(root)
    for case in chosen:
        made.add(case)
    terraform = Terraform(tools, root, {})
    made.init(terraform)
    return made, terraform


def main() -> int:
    tools = terraform_tools()
    if tools is None:
        print("needs terraform on PATH and a provider mirror with hashicorp/aws (TF_PLUGIN_MIRROR)")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        made, terraform = yard(Path(folder), cases(), tools)
        before: frozenset[tuple[str, str]] | None = None
        wrong = 0
        for what, edited, found in stages(made, terraform):
            before = found if before is None else before
            new = found - before
            wrong += len(new)
            print(f"{what}: {len(made.stages)} cases, {edited} edited, {len(found)} errors, {len(new)} of them new")
            for name, said in sorted(new if what != "as written" else found):
                print(f"  {name}: {said}")
    for name, why in sorted(made.skipped.items()):
        print(f"not validated: {name}: {why}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
