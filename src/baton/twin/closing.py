"""A twin that is done with, taken apart: what refers back is cut, so that all of it goes at once.

The cyclic collector would have to look at everything that is alive in the process, the snapshot above all, to find it.
"""

from __future__ import annotations

from baton.twin.controllers.lean import LeanPod, LeanPods
from baton.twin.kube import KubeTwin
from baton.twin.twin import Twin


def close(twin: Twin) -> None:
    """Nothing of the twin can be used any more."""
    cloud = twin.cloud
    for kube in cloud.core.kubes.values():
        if isinstance(kube, KubeTwin):
            _close_kube(kube)
    rooms = (room for room in vars(cloud).values() if type(room).__module__.startswith("baton.twin.cloud"))
    _empty(*rooms, cloud, twin.clock, twin)


def _close_kube(kube: KubeTwin) -> None:
    pods = kube.cluster.lean
    if pods is not None:
        _close_pods(pods)
    for budget in kube.disruption.budgets.values():
        budget.alike = {}
    if kube.bulk is not None:
        for read in kube.bulk.read:
            if not isinstance(read, dict):
                read.info = None
        _empty(kube.bulk)
    kube.scheduling.scheduler.close()
    rooms = [part for part in vars(kube).values() if type(part).__module__.startswith("baton.twin.")]
    _empty(*(room for room in rooms if room is not kube.settings), kube)


def _close_pods(pods: LeanPods) -> None:
    for pod in pods.alike():
        if isinstance(pod, LeanPod):
            pod.info = pod.scheduling = None
    for group in pods.groups.values():
        group.alike, group.several = {}, []


def _empty(*parts: object) -> None:
    for part in parts:
        vars(part).clear()
