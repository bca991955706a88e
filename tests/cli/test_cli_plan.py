"""`baton plan` on recorded clusters: what the options ask for, the file it writes, and bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_lab import Said, baton

from baton.model.cluster import Addon, Cluster, Image, LaunchTemplateRef, NodeGroup, Snapshot, UpdateConfig
from baton.observe.store import save

OLD = Image("ami-0034", "golden-eks-1.34-v20261015", "123456789012", "2026-10-15T00:00:00Z")
NEW = Image("ami-0035", "golden-eks-1.35-v20261101", "123456789012", "2026-11-01T00:00:00Z")
OTHER = Image("ami-1035", "hardened-eks-1.35-v20261101", "123456789012", "2026-11-01T00:00:00Z")


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A snapshot of a cluster at 1.34 with one node group on its own image."""
    group = NodeGroup(
        "main",
        "demo",
        "ACTIVE",
        "1.34",
        release_version=OLD.id,
        ami_type="CUSTOM",
        min_size=3,
        desired_size=3,
        max_size=6,
        update_config=UpdateConfig(1),
        launch_template=LaunchTemplateRef("lt-1", "main-", "1"),
        image_id=OLD.id,
    )
    snapshot = Snapshot(
        1_795_392_000.0,
        Cluster("demo", "1.34", "ACTIVE"),
        (group,),
        (Addon("coredns", "v1.13.2-eksbuild.4", "ACTIVE"),),
        images=(OLD, NEW, OTHER),
    )
    save(tmp_path / "demo.json.gz", snapshot)
    return tmp_path / "demo.json.gz"


def plan(capsys: pytest.CaptureFixture[str], recorded: Path, *words: str) -> Said:
    return baton(capsys, "plan", "--snapshot", str(recorded), "-C", str(recorded.parent), *words)


def moves(said: Said) -> dict[str, str]:
    assert said.code == 0, said.err
    return {c["name"]: c["to"] for s in json.loads(said.out)["stages"] for c in s["changes"]}


def test_the_image_asked_for(capsys: pytest.CaptureFixture[str], recorded: Path) -> None:
    """The refusals' own hint, `--ami GROUP=NAME`, would be no option of the command."""
    assert moves(plan(capsys, recorded, "--to", "1.35", "--json"))["main"] == NEW.id
    for words in ("main=hardened-eks-1.35-*", "main=ami-1035", "ami-1035"):
        assert moves(plan(capsys, recorded, "--to", "1.35", "--json", "--ami", words))["main"] == OTHER.id


def test_the_addon_asked_for(capsys: pytest.CaptureFixture[str], recorded: Path) -> None:
    """A pin, the one way to go below what is installed, would be no option of the command."""
    low = "v1.13.2-eksbuild.1"
    assert moves(plan(capsys, recorded, "--to", "1.35", "--json", "--addon", f"coredns={low}"))["coredns"] == low
    assert "coredns" not in moves(plan(capsys, recorded, "--to", "1.35", "--json", "--addon-policy", "pinned"))


def test_the_pacing_asked_for(capsys: pytest.CaptureFixture[str], recorded: Path) -> None:
    """Who asks for another pace would have to edit and apply it by hand before the roll."""
    for words, text in (("2", "max_unavailable 2"), ("main=30%", "max_unavailable_percentage 30")):
        said = plan(capsys, recorded, "--to", "1.35", "--max-unavailable", words)
        assert f"1. pacing of main\n     node group main              max_unavailable 1 -> {text}\n" in said.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--addon", "coredns"), "--addon coredns\n\nhint: write --addon NAME=VERSION"),
        (("--addon", "coredns=banana"), "add-on coredns banana does not fit Kubernetes 1.35"),
        (("--addon", "nginx=v1.0.0"), "add-on nginx is pinned but not installed\n\nhint: installed: coredns"),
        (("--ami", "spare=ami-1"), "there is no node group spare\n\nhint: node groups: main"),
        (("--ami", "main="), "--ami main=\n\nhint: write --ami [GROUP=]VALUE"),
        (("--ami", "ami-404"), "no image matches ami-404"),
        (("--ami", "*-eks-1.35-*"), "2 images match *-eks-1.35-*: golden-eks-1.35-v20261101 (ami-0035), hardened"),
        (("--ami", "ami-0034"), "is for Kubernetes 1.34 (told by its name), but nodes should move to 1.35"),
        (("--ami", "ami-1", "--ami", "ami-2"), "--ami names ami-1 and ami-2 for every node group"),
        (("--max-unavailable", "half"), "--max-unavailable half\n\nhint: a number of nodes, or a percentage"),
        (("--max-unavailable", "0"), "--max-unavailable: max_unavailable is 0, but EKS takes 1 to 100"),
    ],
)
def test_options_that_cannot_be_meant(
    capsys: pytest.CaptureFixture[str], recorded: Path, words: tuple[str, ...], message: str
) -> None:
    """A slip of the pen would plan something else than what was asked for."""
    said = plan(capsys, recorded, "--to", "1.35", *words)
    assert said.code in (1, 2)
    assert message in said.err
    assert said.out == ""


def test_the_plan_reads_well_in_a_narrow_terminal(
    capsys: pytest.CaptureFixture[str], recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines would break in the middle of words on a terminal of 80 columns."""
    for columns in (80, 120):
        monkeypatch.setenv("COLUMNS", str(columns))
        said = plan(capsys, recorded, "--to", "1.35")
        assert max(map(len, said.out.splitlines())) <= columns
        assert "golden-eks-1.35-v20261101, kubelet 1.34 -> 1.35" in " ".join(said.out.split())


def test_the_rehearsed_duration_stands_beside_each_way(capsys: pytest.CaptureFixture[str], recorded: Path) -> None:
    """Whether another way is worth it could not be seen without rehearsing each by hand."""
    said = plan(capsys, recorded, "--to", "1.35", "--rehearse", "--addon-policy", "newest")
    assert said.code == 0, said.err
    text = " ".join(said.out.split())
    assert "the plan as it is, rehearsed in " in text
    ways = text.partition("Other ways:")[2]
    assert ways.count("of cluster time") == 2


def test_the_plan_file_holds_support_and_alternatives(capsys: pytest.CaptureFixture[str], recorded: Path) -> None:
    """A pipeline would have nothing to read dates, prices and other ways from."""
    out = recorded.parent / "upgrade.plan.json"
    said = plan(capsys, recorded, "--to", "1.35", "-o", str(out))
    assert f"written to {out}; conduct it with `baton apply --plan {out}`" in said.out
    kept = json.loads(out.read_text())
    assert (kept["schema"], kept["cluster"], kept["from"], kept["to"]) == (1, "demo", "1.34", "1.35")
    assert kept["support"]["now"]["standardUntil"] == "2026-12-02"
    assert len(kept["factsDigest"]) == 64
    assert kept["facts"]["node-group/main.image"] == OLD.id


BAD_FILES = [
    (b"", "it is not JSON"),
    (b'{"format": "baton-snapshot", "sch', "it is not JSON"),
    (b'{"items": []}', "it is no snapshot of Baton's\n\nhint: a kubectl dump is read with --dump"),
    (b'{"format": "baton-snapshot", "schema": 99}', "its schema is 99, this Baton reads 1"),
    (b"\x1f\x8b\x08\x00broken", "it cannot be read"),
    (b"\xff\xfe\x00", "it is not JSON"),
]


@pytest.mark.parametrize(("content", "message"), BAD_FILES, ids=range(len(BAD_FILES)))
@pytest.mark.parametrize("command", ["plan", "check", "rehearse"])
def test_a_broken_snapshot(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str, content: bytes, message: str
) -> None:
    """Half a file, or one of another kind, would end in a traceback."""
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    said = baton(capsys, command, "--to", "1.35", "--snapshot", str(path), "-C", str(tmp_path))
    assert said.code == 3
    assert str(path) in said.err
    assert message in said.err
    assert "Traceback" not in said.err


TERRAFORM = """
data "aws_ami" "golden" {
  owners      = ["self"]
  most_recent = true
  filter {
    name   = "name"
    values = ["golden-eks-1.34-*"]
  }
}

module "eks" {
  source          = "terraform-aws-modules/eks/aws"
  version         = "20.8.4"
  cluster_name    = "demo"
  cluster_version = "1.34"
  cluster_addons  = { coredns = {} }

  eks_managed_node_groups = {
    main = {
      name            = "main"
      use_name_prefix = false
      ami_type        = "CUSTOM"
      ami_id          = data.aws_ami.golden.image_id
      update_config   = { max_unavailable = 1 }
    }
  }
  self_managed_node_groups = {
    own = { ami_id = "ami-0815", name = "own", use_name_prefix = false }
  }
}

module "karpenter" {
  source       = "terraform-aws-modules/eks/aws//modules/karpenter"
  version      = "20.8.4"
  cluster_name = module.eks.cluster_name
}
"""


def test_what_the_terraform_has_beside_managed_groups_is_told(
    capsys: pytest.CaptureFixture[str], recorded: Path, tmp_path: Path
) -> None:
    """Self-managed groups and Karpenter of the configuration would be passed over in silence."""
    (tmp_path / "main.tf").write_text(TERRAFORM)
    said = plan(capsys, recorded, "--to", "1.35")
    assert said.code == 0, said.err
    text = " ".join(said.out.split())
    assert "self-managed node group own is in this Terraform" in text
    assert "image ami-0815): Baton leaves it alone" in text
    assert "module.karpenter is in this Terraform (main.tf:" in text
    assert "Karpenter: its NodePools and EC2NodeClasses live in the cluster" in text


def test_every_filter_of_the_data_source_counts(
    capsys: pytest.CaptureFixture[str], recorded: Path, tmp_path: Path
) -> None:
    """Baton would promise an image that Terraform's own data source does not find."""
    more = """    values = ["golden-eks-1.34-*"]
  }
  filter {
    name   = "tag:Channel"
    values = ["stable"]
"""
    text = TERRAFORM.replace('    values = ["golden-eks-1.34-*"]\n', more)
    assert text != TERRAFORM
    (tmp_path / "main.tf").write_text(text)
    said = plan(capsys, recorded, "--to", "1.35")
    assert said.code == 1
    assert "no image matches golden-eks-1.35-*, the name filter of node group main" in said.err


def test_a_plan_from_kubectl_alone(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """`baton plan --dump` would be offered and refuse every dump, for none tells the control plane's version."""
    node = {
        "kind": "Node",
        "apiVersion": "v1",
        "metadata": {"name": "n1", "labels": {"eks.amazonaws.com/nodegroup": "main"}},
        "spec": {},
        "status": {
            "nodeInfo": {"kubeletVersion": "v1.34.1-eks-1a2b3c4"},
            "allocatable": {"cpu": "2", "memory": "4Gi", "pods": "20"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }
    pod = {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p", "namespace": "d"}, "spec": {"containers": []}}
    path = tmp_path / "dump.json"
    path.write_text(json.dumps({"kind": "List", "items": [node, pod]}))
    said = baton(capsys, "plan", "--to", "1.35", "--dump", str(path), "-C", str(tmp_path))
    assert said.code == 0, said.err
    assert "1. control plane to 1.35" in said.out
    assert "node group main to 1.35" in said.out
    assert "  - assumed: " in said.out
