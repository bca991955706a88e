"""Record what real Terraform plans say, for the tests of the gate: tests/cases/gate/NAME.json.

    python scripts/record_gate_cases.py

Creates the demo's cluster on an emulator with the real Terraform and AWS provider, then plans one change of the
configuration after the other, without applying. What is kept of a plan: its format, its changes and its drift.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CASES = ROOT / "tests" / "cases" / "gate"
MAIN, GROUPS = "main.tf", "modules/eks/node_groups.tf"
# name -> edits (file, old, new)
SURPRISES: dict[str, list[tuple[str, str, str]]] = {
    "nothing": [],
    "version": [
        (MAIN, 'cluster_version = "1.34"', 'cluster_version = "1.35"'),
        (MAIN, "coredns = {}", 'coredns = { addon_version = "COREDNS" }'),
        (MAIN, "kube-proxy = {", 'kube-proxy = {\n      addon_version = "KUBEPROXY"'),
        (MAIN, "vpc-cni = {", 'vpc-cni = {\n      addon_version = "VPCCNI"'),
    ],
    "version-and-addons": [(MAIN, 'cluster_version = "1.34"', 'cluster_version = "1.35"')],
    "image": [(MAIN, "golden-eks-1.34-*", "golden-eks-1.35-*")],
    "version-and-image": [
        (MAIN, 'cluster_version = "1.34"', 'cluster_version = "1.35"'),
        (MAIN, "golden-eks-1.34-*", "golden-eks-1.35-*"),
    ],
    "image-and-update-config": [
        (MAIN, "golden-eks-1.34-*", "golden-eks-1.35-*"),
        (MAIN, "max_unavailable = 1", "max_unavailable = 2"),
    ],
    "update-config": [(MAIN, "max_unavailable = 1", "max_unavailable = 2")],
    "group-renamed": [(MAIN, "    main = {", "    workers = {")],
    "group-type": [
        (MAIN, 'ami_type       = "CUSTOM"', 'ami_type       = "AL2023_x86_64_STANDARD"'),
        (MAIN, "ami_id         = data.aws_ami.golden.image_id", 'ami_id         = ""'),
    ],
    "instance-type": [(MAIN, "m6i.large", "m6i.xlarge")],
    "zones-reordered": [
        (MAIN, '["us-east-1a", "us-east-1b", "us-east-1c"]', '["us-east-1c", "us-east-1b", "us-east-1a"]')
    ],
    "addon-removed": [(MAIN, "    coredns = {}\n", "")],
    "cluster-renamed": [(MAIN, 'name = "demo"', 'name = "other"')],
    "tags": [(MAIN, 'Team        = "platform"', 'Team        = "somebody"')],
    "sizes": [(MAIN, "min_size     = 3", "min_size     = 4"), (MAIN, "desired_size = 3", "desired_size = 4")],
}


def main() -> int:
    from baton.cli import demo
    from baton.conductor.engines.terraform import Terraform
    from baton.emulator.server import start_in_thread
    from baton.gateways.aws import AwsGateway

    CASES.mkdir(parents=True, exist_ok=True)
    running = start_in_thread(speed=300, seed=7)
    try:
        with demo.environment(running), tempfile.TemporaryDirectory() as folder:
            root = demo.prepared(Path(folder) / "root")
            terraform: Terraform = demo.initialised(root, os.environ.get("TERRAFORM", "terraform"))
            terraform.apply_all()
            installed = {a.name: a.version for a in AwsGateway().addons(demo.CLUSTER)}
            before = {name: (root / name).read_text() for name in (MAIN, GROUPS)}
            for name, edits in SURPRISES.items():
                texts = dict(before)
                for file, old, new in edits:
                    assert old in texts[file], (name, old)
                    texts[file] = texts[file].replace(old, _filled(new, installed), 1)
                for file, text in texts.items():
                    (root / file).write_text(text)
                out = root / "case.tfplan"
                terraform.plan(out)
                (CASES / f"{name}.json").write_text(
                    json.dumps(_kept(terraform.show(out)), sort_keys=True, separators=(",", ":")) + "\n"
                )
                print(name, flush=True)
    finally:
        running.stop()
    return 0


def _filled(text: str, installed: dict[str, str]) -> str:
    for key, name in (("COREDNS", "coredns"), ("KUBEPROXY", "kube-proxy"), ("VPCCNI", "vpc-cni")):
        text = text.replace(key, installed[name])
    return text


def _kept(plan: dict[str, Any]) -> dict[str, Any]:
    """Without what did not change, and without values that differ from run to run and say nothing."""
    changes = [c for c in plan.get("resource_changes", ()) if c["change"]["actions"] not in (["no-op"], ["read"])]
    kept = {
        k: plan[k] for k in ("format_version", "terraform_version", "complete", "errored", "applyable") if k in plan
    }
    return {**kept, "resource_changes": changes, "resource_drift": plan.get("resource_drift", [])}


if __name__ == "__main__":
    sys.exit(main())
