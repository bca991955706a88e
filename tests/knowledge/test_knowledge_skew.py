"""The skew rules as tables."""

from __future__ import annotations

import pytest

from baton.knowledge.skew import hops, kube_proxy_allowed, kubelet_allowed, newest_control_plane, oldest_kubelet
from baton.model.versions import Minor


@pytest.mark.parametrize(
    ("kubelet", "control_plane", "allowed"),
    [
        ("1.34", "1.34", True),
        ("1.31", "1.34", True),
        ("1.30", "1.34", False),
        ("1.35", "1.34", False),  # never newer
        ("1.25", "1.28", True),
        ("1.24", "1.26", True),
        ("1.24", "1.27", False),  # two only, below 1.25
    ],
)
def test_kubelet_skew(kubelet: str, control_plane: str, allowed: bool) -> None:
    """Nodes would be rolled too often, or a control plane be moved away from under its kubelets."""
    assert kubelet_allowed(Minor.parse(kubelet), Minor.parse(control_plane)) is allowed


@pytest.mark.parametrize(
    ("control_plane", "oldest"), [("1.34", "1.31"), ("1.28", "1.25"), ("1.27", "1.25"), ("1.26", "1.24")]
)
def test_oldest_kubelet(control_plane: str, oldest: str) -> None:
    """The latest hop at which nodes must roll would be computed wrongly."""
    assert oldest_kubelet(Minor.parse(control_plane)) == Minor.parse(oldest)
    assert kubelet_allowed(Minor.parse(oldest), Minor.parse(control_plane))


def test_newest_control_plane() -> None:
    """The hint how far a control plane may go before its nodes would be wrong."""
    assert newest_control_plane(Minor(1, 31)) == Minor(1, 34)
    assert newest_control_plane(Minor(1, 24)) == Minor(1, 26)


@pytest.mark.parametrize(
    ("proxy", "control_plane", "kubelets", "allowed"),
    [
        ("1.34", "1.34", ["1.31"], True),
        ("1.34", "1.34", ["1.30"], False),
        ("1.35", "1.34", [], False),
        ("1.31", "1.34", ["1.34"], True),
        ("1.30", "1.34", [], False),
    ],
)
def test_kube_proxy_skew(proxy: str, control_plane: str, kubelets: list[str], allowed: bool) -> None:
    """kube-proxy would be left behind, or run ahead of the API server."""
    found = kube_proxy_allowed(Minor.parse(proxy), Minor.parse(control_plane), [Minor.parse(k) for k in kubelets])
    assert found is allowed


def test_hops_go_one_minor_at_a_time() -> None:
    """EKS refuses a skipped minor."""
    assert hops(Minor(1, 31), Minor(1, 34)) == (Minor(1, 32), Minor(1, 33), Minor(1, 34))
    assert hops(Minor(1, 34), Minor(1, 34)) == ()
