"""Bad input of the command line: what, where, what next; the right exit code; and no file changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_lab import Said, baton, demo_root, files_of, lab, shell

from baton.emulator.server import Running

pytestmark = pytest.mark.xdist_group("cli-bad-input")


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with lab(workloads=False) as found:
        yield found


def refused(said: Said, code: int, *words: str) -> None:
    assert said.code == code, said.out + said.err
    assert "hint:" in said.err, said.err
    assert "Traceback" not in said.err + said.out
    for word in words:
        assert word in said.err, said.err


@pytest.mark.parametrize("command", ["check", "plan", "apply"])
@pytest.mark.parametrize("version", ["2.0", "latest", "1", ""])
def test_a_version_that_is_none(capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str, version: str) -> None:
    """A typo in --to must be told before anything is read, not end in a traceback or a wrong plan."""
    root = demo_root(tmp_path)
    before = files_of(root)
    refused(baton(capsys, command, f"--to={version}", "-C", root), 2)
    assert files_of(root) == before


@pytest.mark.parametrize("command", ["check", "plan", "apply"])
def test_a_directory_without_a_cluster(
    running: Running, capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str
) -> None:
    """Pointing at the wrong directory must say that there is no cluster in it."""
    (tmp_path / "main.tf").write_text('resource "aws_s3_bucket" "logs" {\n  bucket = "logs"\n}\n')
    refused(baton(capsys, command, "--to", "1.35", "-C", tmp_path), 2, str(tmp_path), "no EKS cluster")


def test_terraform_that_does_not_parse(running: Running, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A syntax error must be shown with file and line, as the user's editor knows it."""
    root = demo_root(tmp_path)
    text = (root / "main.tf").read_text()
    (root / "main.tf").write_text(text.replace('cluster_version = "1.34"', 'cluster_version = = "1.34"'))
    before = files_of(root)
    refused(baton(capsys, "apply", "--to", "1.35", "-C", root, "--yes"), 3, "main.tf:")
    assert files_of(root) == before


def test_two_minors_in_one_hop_is_a_path_of_two(running: Running, capsys: pytest.CaptureFixture[str]) -> None:
    """A target two minors up must never become one hop: EKS refuses it, half-way through a pipeline."""
    said = baton(capsys, "plan", "--to", "1.36", "--cluster", "demo", "--json")
    if said.code == 0:
        hops = [c for s in json.loads(said.out)["stages"] for c in s["changes"] if c["kind"] == "cluster"]
        assert [(h["from"], h["to"]) for h in hops] == [("1.34", "1.35"), ("1.35", "1.36")]
    else:
        refused(said, said.code)


def test_a_target_that_is_not_offered(running: Running, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A version that EKS does not have must stop the upgrade before it begins."""
    said = baton(capsys, "apply", "--to", "1.99", "--cluster", "demo", "--engine", "aws", "--yes", "-C", tmp_path)
    refused(said, said.code)
    assert said.code in (1, 2)


def test_going_back_is_refused(running: Running, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A target below the cluster's version must not be planned as if it were an upgrade."""
    said = baton(capsys, "plan", "--to", "1.33", "--cluster", "demo", "-C", tmp_path)
    refused(said, said.code)
    assert said.code in (1, 2)


def test_an_image_filter_that_matches_nothing(
    running: Running, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Without an image for the target there is nothing to roll to: told before the control plane moves for good."""
    root = demo_root(tmp_path)
    text = (root / "main.tf").read_text()
    (root / "main.tf").write_text(text.replace("golden-eks-1.34-*", "platinum-eks-1.34-*"))
    before = files_of(root)
    said = baton(capsys, "apply", "--to", "1.35", "-C", root, "--yes")
    refused(said, said.code)
    assert said.code in (1, 3)
    assert "platinum-eks" in said.err or "BTN3" in said.err
    assert files_of(root) == before


@pytest.mark.parametrize("value", ["0", "101"])
def test_pacing_that_eks_refuses(
    running: Running, capsys: pytest.CaptureFixture[str], tmp_path: Path, value: str
) -> None:
    """max_unavailable 0 or above 100 fails at EKS after the plan: it must be found by the check."""
    root = demo_root(tmp_path)
    text = (root / "main.tf").read_text()
    (root / "main.tf").write_text(text.replace("max_unavailable = 1", f"max_unavailable = {value}"))
    before = files_of(root)
    refused(baton(capsys, "apply", "--to", "1.35", "-C", root, "--yes"), 1, "BTN202")
    assert files_of(root) == before


def test_no_credentials(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Without credentials the message must say so, not show an SDK's traceback."""
    with shell({"AWS_EC2_METADATA_DISABLED": "true", "AWS_REGION": "us-east-1", "HOME": str(tmp_path)}):
        refused(baton(capsys, "check", "--to", "1.35", "--cluster", "demo", "-C", tmp_path), 3, "credentials")


def test_an_emulator_that_is_gone(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A shell that still points at an emulator that has ended must be told that, not hang in retries."""
    gone = "http://127.0.0.1:9"
    variables = {
        "AWS_ENDPOINT_URL": gone,
        "BATON_CLOCK": gone + "/_baton/clock",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "y",
        "AWS_REGION": "us-east-1",
    }
    with shell(variables):
        refused(baton(capsys, "check", "--to", "1.35", "--cluster", "demo", "-C", tmp_path), 3, "emulator")


def test_a_plan_file_that_is_none(running: Running, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A wrong --plan file must be named, and nothing conducted."""
    broken = tmp_path / "plan.json"
    broken.write_text('{"schema": 1, "stages": [{"ordinal": "x"}]}')
    options = ["--plan", broken, "--engine", "aws", "--cluster", "demo", "--yes", "-C", tmp_path]
    refused(baton(capsys, "apply", *options), 3, "plan.json")
    broken.write_text("not json")
    refused(baton(capsys, "apply", *options), 3, "plan.json")
    refused(baton(capsys, "apply", *options, "--to", "1.35"), 2)


def test_a_cluster_that_does_not_exist(running: Running, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A mistyped cluster name must be told with the name."""
    refused(baton(capsys, "check", "--to", "1.35", "--cluster", "demmo", "-C", tmp_path), 3, "demmo")


def test_nobody_to_ask(
    running: Running, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a pipeline without --yes Baton must not wait for an answer for ever, nor take silence for one."""
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    said = baton(capsys, "apply", "--to", "1.35", "--engine", "aws", "--cluster", "demo", "-C", tmp_path)
    refused(said, 2, "--yes")
