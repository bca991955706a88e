"""The transcripts in docs/ still read as a real cluster's; scripts/kube_transcripts.py writes them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "docs" / "transcripts"
NAMES = ["describe", "drain", "get", "roll-nodes", "roll-pods", "top"]


@pytest.mark.parametrize("name", NAMES)
def test_transcripts_hold_nothing_that_a_cluster_would_not_print(name: str) -> None:
    """People compare them with what they see: an age that is <invalid> or an error would tell of a worse emulator."""
    text = (FOLDER / f"{name}.txt").read_text()
    assert text.startswith("# kubectl") and "\n$ kubectl " in text
    for word in ("<invalid>", "<nil>:", "Traceback", "Error from server", "the server could not find"):
        assert word not in text


def test_the_roll_goes_as_eks_documents_it() -> None:
    """New nodes first, then every old one cordoned, then gone; at the end as many as before, all at the new version."""
    watched, _, after = (FOLDER / "roll-nodes.txt").read_text().partition("\n$ kubectl get nodes\n")
    rows = [re.split(r"\s+", line) for line in watched.splitlines() if line.startswith("ip-")]
    old = [r[0] for r in rows[:3]]
    first_cordon = next(i for i, r in enumerate(rows) if r[1] == "Ready,SchedulingDisabled")
    came = {r[0] for r in rows[:first_cordon]} - set(old)
    assert len(came) >= 3
    assert {r[0] for r in rows if r[1] == "Ready,SchedulingDisabled"} >= set(old)
    left = [re.split(r"\s+", line) for line in after.splitlines() if line.startswith("ip-")]
    assert len(left) == 3 and not {r[0] for r in left} & set(old)
    assert {r[4].split(".")[1] for r in left} == {"35"}


def test_pods_move_in_the_steps_of_a_kubelet() -> None:
    """Pending, bound, ContainerCreating, Running for those that come; Terminating, Completed for those that go."""
    text = (FOLDER / "roll-pods.txt").read_text().partition("\n$ kubectl get pods -o wide")[0]
    steps: dict[str, list[str]] = {}
    for line in text.splitlines()[4:]:
        name, ready, status = re.split(r"\s+", line)[:3]
        steps.setdefault(name, []).append(f"{ready} {status}")
    gone = [s for s in steps.values() if s[-1].endswith("Completed")]
    came = [s for s in steps.values() if s[0].endswith("Pending")]
    assert len(gone) >= 3 and all("1/1 Terminating" in s for s in gone)
    for seen in came:
        assert seen[:4] == ["0/1 Pending", "0/1 Pending", "0/1 ContainerCreating", "1/1 Running"]
