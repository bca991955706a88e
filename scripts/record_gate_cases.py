"""Record what real Terraform plans say, for the tests of the gate: tests/cases/gate/NAME.json.

    python scripts/record_gate_cases.py [NAME ...]

Creates the demo's cluster on an emulator with the real Terraform and AWS provider, then plans one change of the
configuration after the other, without applying; then the same with a wider root: two groups on the image of one's own,
one on EKS's, a second cluster, policies found by a data source. What is kept of a plan: its format, its changes and its
drift. Some cases change the world by the AWS API first, as somebody at a console would.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CASES = ROOT / "tests" / "cases" / "gate"
MAIN, GROUPS, CONTROL, VPC = "main.tf", "modules/eks/node_groups.tf", "modules/eks/main.tf", "modules/vpc/main.tf"
Edits = list[tuple[str, str, str]]  # (file, old, new)
SURPRISES: dict[str, Edits] = {
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


GROUP = """    GROUP = {
      ami_type       = "CUSTOM"
      ami_id         = data.aws_ami.golden.image_id
      instance_types = ["m6i.large"]
      min_size       = 1
      desired_size   = 2
      max_size       = 4
      update_config  = { max_unavailable = 1 }
    }
"""
KEPT = GROUP.replace("    }\n", "      default_version = false\n    }\n")
OPTIMISED = GROUP.replace('"CUSTOM"', '"AL2023_x86_64_STANDARD"').replace("data.aws_ami.golden.image_id", '""')
OTHER = """
module "other" {
  source = "./modules/eks"

  cluster_name    = "other"
  cluster_version = "1.34"
  vpc_id          = module.vpc.vpc_id
  subnet_ids      = module.vpc.subnet_ids
  tags            = {}
}

resource "aws_ecr_repository" "left" {
  name = "left-a"

  lifecycle {
    create_before_destroy = true
  }
}
"""
VERSION = (MAIN, 'cluster_version = "1.34"', 'cluster_version = "1.35"')
PINNED = SURPRISES["version"][1:]
IMAGE = (MAIN, "golden-eks-1.34-*", "golden-eks-1.35-*")
# What makes the demo's root the wider one.
WIDER: Edits = [
    (MAIN, "  eks_managed_node_groups = {\n", "  eks_managed_node_groups = {\n" + GROUP.replace("GROUP", "second", 1)
     + OPTIMISED.replace("GROUP", "plain", 1) + KEPT.replace("GROUP", "kept", 1)),
    (MAIN, '  tags = local.tags\n}\n', '  tags = merge(local.tags, { Network = "a" })\n}\n'),
    (GROUPS, "image_id               = each.value.ami_id",
     'image_id               = each.value.ami_id == "" ? null : each.value.ami_id'),
    (GROUPS, "  instance_types  = each.value.instance_types\n",
     "  instance_types  = each.value.instance_types\n"
     '  version         = each.value.ami_type == "CUSTOM" ? null : aws_eks_cluster.this.version\n'
     "  release_version = try(each.value.release_version, null)\n"),
    (GROUPS, "update_default_version = true", "update_default_version = try(each.value.default_version, true)"),
    (GROUPS, "  policy_arn = \"arn:aws:iam", "  policy_arn = \"arn:${data.aws_partition.current.partition}:iam"),
    (GROUPS, 'resource "aws_iam_role" "node"', 'data "aws_partition" "current" {}\n\nresource "aws_iam_role" "node"'),
]  # fmt: skip
TEMPLATE = "  update_default_version = try(each.value.default_version, true)\n"
ADDRESSES = [f'module.eks.{kind}.this["second"]' for kind in ("aws_launch_template", "aws_eks_node_group")]
WIDE: dict[str, Edits] = {
    "wide-nothing": [],
    "wide-image": [IMAGE],
    "wide-version-rolls-optimised": [VERSION, *PINNED],
    "name-prefix": [(GROUPS, "node_group_name = each.key", 'node_group_name_prefix = "${each.key}-"')],
    "subnet-order": [(MAIN, "subnet_ids = module.vpc.subnet_ids", "subnet_ids = reverse(module.vpc.subnet_ids)")],
    "subnet-added": [(MAIN, '"us-east-1c"]', '"us-east-1c", "us-east-1d"]')],
    "node-role": [(GROUPS, '"${var.cluster_name}-node"', '"${var.cluster_name}-nodes"')],
    "template-name": [
        (GROUPS, 'name_prefix            = "${each.key}-"', 'name_prefix            = "lt-${each.key}-"')
    ],
    "module-depends-on": [
        (MAIN, 'Network = "a"', 'Network = "b"'),
        (MAIN, 'module "eks" {\n', 'module "eks" {\n  depends_on = [module.vpc]\n'),
    ],
    "user-data": [IMAGE, (GROUPS, "    kind: NodeConfig\n", "    kind: NodeConfig # of ours\n")],
    "metadata-options": [
        IMAGE,
        (GROUPS, TEMPLATE, TEMPLATE + '  metadata_options {\n    http_tokens = "required"\n  }\n'),
    ],
    "instance-tags": [IMAGE, (GROUPS, "{ Name = each.key }", "{ Name = each.key, CostCentre = 7 }")],
    "latest-release": [
        VERSION,
        *PINNED,
        (GROUPS, "try(each.value.release_version, null)", 'each.key == "plain" ? "1.34.9-20261112" : null'),
    ],
    "most-recent": [(MAIN, "coredns = {}", "coredns = { most_recent = true }")],
    "version-jump": [(MAIN, 'cluster_version = "1.34"', 'cluster_version = "1.36"'), *PINNED],
    "version-back": [(MAIN, 'cluster_version = "1.34"', 'cluster_version = "1.33"'), *PINNED],
    "other-cluster": [(MAIN, '"other"\n  cluster_version = "1.34"', '"other"\n  cluster_version = "1.35"')],
    "sensitive": [IMAGE, (MAIN, 'Team        = "platform"', 'Team        = sensitive("hunter2")')],
    "min-above-desired": [
        (MAIN, "min_size       = 1\n      desired_size   = 2", "min_size       = 3\n      desired_size   = 3")
    ],
    "targeted": [IMAGE],
    "targeted-elsewhere": [IMAGE, (MAIN, 'Network = "a"', 'Network = "b"')],
    "drift": [VERSION, *PINNED],
    "desired-size-fight": [IMAGE, (GROUPS, "    ignore_changes        = [scaling_config[0].desired_size]\n", "")],
    "addon-downgrade": [(MAIN, "coredns = {}", 'coredns = { addon_version = "COREDNS" }')],
    "version-and-deposed": [VERSION, *PINNED, (MAIN, '"left-a"', '"left-b"')],
}
TARGETS = {"targeted": ADDRESSES, "targeted-elsewhere": ["module.vpc"]}


def drift() -> None:
    """Somebody labels a node group at the console."""
    _eks().update_nodegroup_config(
        clusterName="demo", nodegroupName="second", labels={"addOrUpdateLabels": {"by": "hand"}}
    )


def scaled() -> None:
    """An autoscaler has set another size."""
    _eks().update_nodegroup_config(clusterName="demo", nodegroupName="second", scalingConfig={"desiredSize": 4})


def newer_addon() -> None:
    """Somebody has updated an add-on at the console."""
    eks = _eks()
    now = eks.describe_addon(clusterName="demo", addonName="coredns")["addon"]["addonVersion"]
    offered = eks.describe_addon_versions(addonName="coredns", kubernetesVersion="1.34")["addons"][0]["addonVersions"]
    newest = next(v["addonVersion"] for v in offered if v["addonVersion"] != now)
    eks.update_addon(clusterName="demo", addonName="coredns", addonVersion=newest)


def _eks() -> Any:
    import boto3

    return boto3.client("eks")


def pushed() -> None:
    """Somebody pushes an image: the repository cannot be deleted, so replacing it leaves the old one deposed."""
    import boto3

    kind = "application/vnd.docker.distribution.manifest.v2+json"
    manifest = {
        "schemaVersion": 2,
        "mediaType": kind,
        "config": {"digest": "sha256:" + 64 * "0", "size": 1},
        "layers": [],
    }
    boto3.client("ecr").put_image(repositoryName="left-a", imageManifest=json.dumps(manifest), imageTag="a")


ACTS = {"drift": drift, "desired-size-fight": scaled, "addon-downgrade": newer_addon, "version-and-deposed": pushed}


def main() -> int:
    CASES.mkdir(parents=True, exist_ok=True)
    wanted = set(sys.argv[1:])
    for base, cases in (([], SURPRISES), (WIDER, WIDE)):
        chosen = {n: e for n, e in cases.items() if not wanted or n in wanted}
        if chosen:
            _record(base, chosen)
    return 0


def _record(base: Edits, cases: dict[str, Edits]) -> None:
    from baton.cli import demo
    from baton.conductor.engines.terraform import Terraform
    from baton.emulator.server import start_in_thread
    from baton.errors import ReadError
    from baton.gateways.aws import AwsGateway

    running = start_in_thread(speed=300, seed=7)
    try:
        with demo.environment(running), tempfile.TemporaryDirectory() as folder:
            root = demo.prepared(Path(folder) / "root")
            texts = {name: (root / name).read_text() for name in (MAIN, GROUPS, CONTROL, VPC)}
            before = _edited(texts, base, {})
            if base:
                before[MAIN] += OTHER
            _write(root, before)
            terraform: Terraform = demo.initialised(root, os.environ.get("TERRAFORM", "terraform"))
            terraform.apply_all()
            installed = {a.name: a.version for a in AwsGateway().addons(demo.CLUSTER)}
            for name, edits in cases.items():
                _write(root, _edited(before, edits, installed))
                if name in ACTS:
                    ACTS[name]()
                    _settle()
                if name == "version-and-deposed":
                    _write(root, _edited(before, edits[-1:], installed))
                    with contextlib.suppress(ReadError):  # it fails, and leaves the old object deposed
                        terraform.run("apply", "-auto-approve", "-no-color", "-target=aws_ecr_repository.left")
                    _write(root, _edited(before, edits, installed))
                out = root / "case.tfplan"
                terraform.plan(out, TARGETS.get(name, ()))
                kept = _kept(terraform.show(out))
                (CASES / f"{name}.json").write_text(json.dumps(kept, sort_keys=True, separators=(",", ":")) + "\n")
                print(name, flush=True)
    finally:
        running.stop()


def _edited(texts: dict[str, str], edits: Edits, installed: dict[str, str]) -> dict[str, str]:
    found = dict(texts)
    for file, old, new in edits:
        assert old in found[file], (file, old)
        found[file] = found[file].replace(old, _filled(new, installed), 1)
    return found


def _write(root: Path, texts: dict[str, str]) -> None:
    for file, text in texts.items():
        (root / file).write_text(text)


def _settle() -> None:
    """Wait until EKS has nothing in progress."""
    from baton.ports import SystemClock

    eks = _eks()
    while True:
        states = [eks.describe_nodegroup(clusterName="demo", nodegroupName=n)["nodegroup"]["status"]
                  for n in eks.list_nodegroups(clusterName="demo")["nodegroups"]]  # fmt: skip
        states += [eks.describe_addon(clusterName="demo", addonName="coredns")["addon"]["status"]]
        if set(states) == {"ACTIVE"}:
            return
        SystemClock().sleep(0.2)


def _filled(text: str, installed: dict[str, str]) -> str:
    for key, name in (("COREDNS", "coredns"), ("KUBEPROXY", "kube-proxy"), ("VPCCNI", "vpc-cni")):
        text = text.replace(key, installed.get(name, ""))
    return text


NAMES = ("id", "name", "cluster_name", "node_group_name", "addon_name", "launch_template", "scaling_config", "version")


def _kept(plan: dict[str, Any]) -> dict[str, Any]:
    """What changes, the node groups that do not, and drift; without what differs from run to run and says nothing."""
    changes = []
    for change in plan.get("resource_changes", ()):
        if change["change"]["actions"] not in (["no-op"], ["read"]):
            changes.append(change)
        elif change["type"] == "aws_eks_node_group":
            changes.append(_short(change))
    kept = {
        k: plan[k] for k in ("format_version", "terraform_version", "complete", "errored", "applyable") if k in plan
    }
    return {**kept, "resource_changes": changes, "resource_drift": [_short(d) for d in plan.get("resource_drift", ())]}


def _short(entry: dict[str, Any]) -> dict[str, Any]:
    """Of a resource that is not about to change: its names, and what differs."""
    change = entry["change"]
    before, after = change.get("before") or {}, change.get("after") or {}
    keys = {k for k in {*before, *after} if k in NAMES or before.get(k) != after.get(k)}
    sides = {
        "before": {k: v for k, v in before.items() if k in keys},
        "after": {k: v for k, v in after.items() if k in keys},
    }
    return {**entry, "change": {**change, **sides}}


if __name__ == "__main__":
    sys.exit(main())
