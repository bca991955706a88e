"""Which versions may stand beside each other, by Kubernetes' version skew policy and EKS's own rules.

Source: the version skew policy of the Kubernetes documentation (relaxed from two to three minors for kubelets from 1.25
on); EKS follows it for node groups since late 2023.
"""

from __future__ import annotations

from collections.abc import Iterable

from baton.model.versions import Minor

RELAXED_FROM = Minor(1, 25)  # kubelet and kube-proxy from here on may lag three minors instead of two
_RELAXED, _STRICT = 3, 2


def minors_between(older: Minor, newer: Minor) -> int:
    """How many minors `newer` is ahead (negative when it is behind)."""
    return (newer.major - older.major) * 1000 + newer.minor - older.minor


def may_lag(component: Minor) -> int:
    """By how many minors a kubelet or kube-proxy of this version may be older than the API server."""
    return _RELAXED if component >= RELAXED_FROM else _STRICT


def kubelet_allowed(kubelet: Minor, control_plane: Minor) -> bool:
    """A kubelet is never newer than the API server and lags it by no more than `may_lag`."""
    return 0 <= minors_between(kubelet, control_plane) <= may_lag(kubelet)


def oldest_kubelet(control_plane: Minor) -> Minor:
    """The oldest kubelet that may run under this control plane."""
    oldest = control_plane
    while kubelet_allowed(oldest.plus(-1), control_plane):
        oldest = oldest.plus(-1)
    return oldest


def newest_control_plane(kubelet: Minor) -> Minor:
    """The newest control plane that this kubelet may still serve under."""
    return kubelet.plus(may_lag(kubelet))


def kube_proxy_allowed(proxy: Minor, control_plane: Minor, kubelets: Iterable[Minor] = ()) -> bool:
    """Like a kubelet towards the API server; and within three minors of its node's kubelet, older or newer."""
    if not 0 <= minors_between(proxy, control_plane) <= may_lag(proxy):
        return False
    return all(abs(minors_between(k, proxy)) <= may_lag(min(k, proxy)) for k in kubelets)


def hops(start: Minor, end: Minor) -> tuple[Minor, ...]:
    """The control plane's versions after `start`, up to `end`: EKS moves one minor at a time."""
    return tuple(start.plus(n) for n in range(1, minors_between(start, end) + 1))
