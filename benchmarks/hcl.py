"""Finding and tracing in a large Terraform root, and the latency of an edit, as JSON.

    python benchmarks/hcl.py [--files 300] [--lines 50000]

Writes a root of FILES files with LINES lines (resources, locals, variables, heredocs; one EKS cluster whose version
and AMI are traced through a variable and a local), then measures in one run: `inspect` (parse all, find, trace), the
edit of a version in a file of 5,000 lines (written and taken back; with and without parsing and tracing first),
python-hcl2's `load` of every file where that library is installed, and `terraform validate` where Terraform is.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CLUSTER = """\
variable "k8s" {
  default = "1.34"
}
locals {
  ami = "golden-eks-1.34-*"
}
data "aws_ami" "golden" {
  most_recent = true
  owners      = ["self"]
  filter {
    name   = "name"
    values = [local.ami]
  }
}
module "eks" {
  source          = "terraform-aws-modules/eks/aws"
  version         = "20.8.4"
  cluster_name    = "demo"
  cluster_version = var.k8s
  eks_managed_node_groups = {
    main = { ami_type = "CUSTOM", ami_id = data.aws_ami.golden.image_id }
  }
}
"""


def block(number: int) -> str:
    """A resource of 14 lines, of the kinds that roots are full of."""
    return f"""\
# service {number}: owned by team-{number % 17}
resource "terraform_data" "service_{number}" {{
  input = {{
    name  = "service-{number}"
    tags  = merge(local.tags_{number % 50}, {{ Index = "{number}" }})
    size  = var.size == "large" ? {number} : 1
    ports = [for p in [80, 443, {1000 + number}] : p + 1]
    text  = <<-EOT
      #!/bin/bash
      echo "service {number}" > /etc/motd
    EOT
  }}
}}

"""


def write(root: Path, files: int, lines: int) -> int:
    """The root; returns how many lines it has."""
    (root / "cluster.tf").write_text(CLUSTER)
    shared = 'variable "size" {\n  default = "small"\n}\nlocals {\n'
    shared += "".join(f'  tags_{i} = {{ Team = "team-{i}" }}\n' for i in range(50)) + "}\n"
    (root / "shared.tf").write_text(shared)
    each = max(1, lines // files // block(0).count("\n"))
    for number in range(files - 2):
        (root / f"services_{number:03}.tf").write_text("".join(block(number * each + i) for i in range(each)))
    return sum(p.read_text().count("\n") for p in root.glob("*.tf"))


def timed(run: Callable[[], Any], times: int = 3) -> float:
    """Seconds of the quickest of some runs."""
    best = float("inf")
    for _ in range(times):
        began = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - began)
    return round(best, 3)


def main() -> int:
    from baton.terraform.edit import apply
    from baton.terraform.editor import Editor
    from baton.terraform.inspect import inspect

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=300)
    parser.add_argument("--lines", type=int, default=50_000)
    args = parser.parse_args()
    found: dict[str, Any] = {"benchmark": "hcl"}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        found |= {"files": args.files, "lines": write(root, args.files, args.lines)}
        cluster = inspect(root).cluster()
        assert cluster.version.value == "1.34" and cluster.node_groups[0].ami.value.value == "golden-eks-1.34-*"
        found["inspectSeconds"] = timed(lambda: inspect(root))
        found["pythonHcl2Seconds"] = hcl2(root)
        found["terraformValidateSeconds"] = validate(root)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        text = CLUSTER + "".join(block(i) for i in range(5000 // block(0).count("\n")))
        (root / "main.tf").write_text(text + 'variable "size" {}\nlocals {\n' + "".join(
            f"  tags_{i} = {{}}\n" for i in range(50)) + "}\n")  # fmt: skip

        def edit() -> None:
            inspection = inspect(root)
            apply(root, Editor(inspection, inspection.cluster()).control_plane("1.35", {}))()

        found["editLines"] = (root / "main.tf").read_text().count("\n")
        found["inspectEditUndoSeconds"] = timed(edit, 5)
        inspection = inspect(root)
        edits = Editor(inspection, inspection.cluster()).control_plane("1.35", {})
        found["editSeconds"] = timed(lambda: apply(root, edits)(), 5)
    json.dump(found, sys.stdout, indent=1)
    print()
    return 0


def hcl2(root: Path) -> float | str:
    if importlib.util.find_spec("hcl2") is None:
        return "not installed"
    import hcl2

    def load() -> None:
        for path in root.glob("*.tf"):
            with path.open() as file:
                hcl2.load(file)

    return timed(load, 1)


def validate(root: Path) -> float | str:
    """Of the root without its one module call and data source: those need a registry and a provider."""
    program = shutil.which("terraform")
    if program is None:
        return "not installed"
    (root / "cluster.tf").unlink()
    started = subprocess.run([program, f"-chdir={root}", "init", "-backend=false"], capture_output=True, check=False)
    if started.returncode != 0:
        return "cannot initialise"

    def run() -> None:
        subprocess.run([program, f"-chdir={root}", "validate"], capture_output=True, check=True)

    return timed(run)


if __name__ == "__main__":
    sys.exit(main())
