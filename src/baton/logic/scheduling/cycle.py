"""One scheduling cycle over every node, plugin by plugin in upstream's order: the yardstick of the fast path."""

from __future__ import annotations

from collections.abc import Iterable

from baton.logic.scheduling import filters, interpod, spread, volumes
from baton.logic.scheduling.filters import Figures, Plugin, Status, View
from baton.logic.scheduling.infos import NodeInfo, PodInfo
from baton.logic.scheduling.state import ClusterState

PLUGINS: tuple[type[Plugin], ...] = (
    filters.NodeUnschedulable,
    filters.NodeName,
    filters.TaintToleration,
    filters.NodeAffinity,
    filters.NodePorts,
    filters.NodeResourcesFit,
    *volumes.modelled(),
    spread.PodTopologySpread,
    interpod.InterPodAffinity,
)
LEFT_OUT = Status("", ("node(s) didn't satisfy plugin(s) [NodeAffinity]",), True)


class Cycle:
    """The filter plugins prepared for one pod."""

    def __init__(self, state: ClusterState, pod: PodInfo, figures: Figures | None = None) -> None:
        self.state = state
        self.pod = pod
        self.plugins: list[Plugin] = []
        self.turned_down: Status | None = None
        for kind in PLUGINS:
            plugin = kind(state, pod)
            plugin.figures = figures
            self.turned_down = plugin.prefilter()
            if self.turned_down is not None:
                return
            if not plugin.skip:
                self.plugins.append(plugin)
        self._watching = [p for p in self.plugins if p.watches]
        self._told = [p for p in self.plugins if type(p).moved is not Plugin.moved]

    def judge(self, view: View) -> Status | None:
        """The first objection to a node as it is, or as it will be once the pods nominated there have come
        (RunFilterPluginsWithNominatedPods)."""
        status = self.judge_with_rivals(view) if self.state.nominees else None
        return self.filter(view) if status is None else status

    def judge_with_rivals(self, view: View) -> Status | None:
        """The first objection once they have come; None also where nobody is nominated."""
        rivals = self.rivals(view.info.name)
        if not rivals:
            return None
        later = view.copy()
        for rival in rivals:
            self.moved(later, rival, 1)
        status = self.filter(later)
        self.count_all(later, rivals, -1)
        return status

    def rivals(self, node: str) -> list[PodInfo]:
        """See rivals_of."""
        return rivals_of(self.state, self.pod, node)

    def filter(self, view: View) -> Status | None:
        """The first plugin's objection to a node, or None."""
        for plugin in self.plugins:
            status = plugin.filter(view)
            if status is not None:
                return status
        return None

    @property
    def asks_for_room_only(self) -> bool:
        """Whether nothing but cpu, memory, ephemeral storage and the number of pods can change with the pods there."""
        only = len(self._watching) == 1 and isinstance(self._watching[0], filters.NodeResourcesFit)
        return only and not self._told and not self.pod.cls.fit.scalars

    def still_fits(self, view: View) -> bool:
        """Whether no plugin objects to a node to which none objected before pods were moved there."""
        for plugin in self._watching:  # noqa: SIM110, asked for each victim
            if plugin.filter(view) is not None:
                return False
        return True

    def run(self, nodes: Iterable[NodeInfo] | None = None) -> tuple[list[NodeInfo], dict[str, Status]]:
        """(feasible nodes in the order they were added, the others' statuses), of `nodes` or of all."""
        feasible, rejected = [], {}
        names = self.pod.node_names
        for node in self.state.node_infos() if nodes is None else nodes:
            if self.turned_down is not None:
                rejected[node.name] = self.turned_down
            elif names is not None and node.name not in names:
                rejected[node.name] = LEFT_OUT
            else:
                status = self.judge(View(self.state, node))
                if status is None:
                    feasible.append(node)
                else:
                    rejected[node.name] = status
        return feasible, rejected

    def moved(self, view: View, pod: PodInfo, sign: int) -> None:
        """Try a pod off (-1) or on (+1) a node."""
        view.move(pod, sign)
        self.count(view, pod, sign)

    def count_all(self, view: View, pods: Iterable[PodInfo], sign: int) -> None:
        """The plugins' share of moving them all."""
        if self._told:
            for pod in pods:
                self.count(view, pod, sign)

    def count(self, view: View, pod: PodInfo, sign: int) -> None:
        """The plugins' share of that."""
        for plugin in self._told:
            plugin.moved(view, pod, sign)


def rivals_of(state: ClusterState, pod: PodInfo, node: str) -> list[PodInfo]:
    """The pods nominated to a node that keep room from the pod there: others, of no lower priority."""
    own, priority = pod.key, pod.cls.priority
    there = state.nominees.get(node, {})
    return [rival for key, rival in there.items() if rival.cls.priority >= priority and key != own]
