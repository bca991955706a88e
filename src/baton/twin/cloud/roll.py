"""Carries out the rolling machine's commands on an Auto Scaling group, and tells it what comes of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial

from baton.logic.rolling import values as v
from baton.logic.rolling.machine import begin, step
from baton.twin.clock import Handle
from baton.twin.cloud.asg import AutoScaling
from baton.twin.cloud.core import Core
from baton.twin.cloud.records import AsgRecord, InstanceRecord, TemplateVersion

EXCLUDE = "node.kubernetes.io/exclude-from-external-load-balancers"


class Roll:
    """One update of one node group. `finished(failure)` is called at its end, with None when it succeeded."""

    def __init__(
        self,
        core: Core,
        scaling: AutoScaling,
        group: AsgRecord,
        settings: v.Settings,
        finished: Callable[[v.Failure | None], object],
    ) -> None:
        self._core = core
        self._scaling = scaling
        self.group = group
        self._finished = finished
        target = group.versions[-1]
        old = [i for i in scaling.alive(group) if not _same(group.version(i.template_version), target)]
        self.state = begin(settings, group.desired, [(i.node_name, i.zone) for i in old])
        self._before = group.current
        self._target = target
        self._timers: dict[v.Timer, Handle] = {}
        self._asked: set[str] = set()  # nodes whose termination the machine waits for
        self._lowering = ""  # the node that the scale-down step takes
        self._surge: set[str] = set()  # nodes that RemoveSurge takes
        self._surge_gone: list[str] = []
        self._queue: deque[v.Event] = deque()
        self._busy = False
        scaling.watch(group.name, self)

    def start(self) -> None:
        """The template is in place: go."""
        self.group.current = self._target.number
        self._core.changed("asg", self.group)
        self._feed(v.TemplateReady())

    @property
    def raised(self) -> int:
        return self.state.raised

    # --- the machine ------------------------------------------------------------------------------------------

    def _feed(self, event: v.Event) -> None:
        """Events that commands cause are taken after the command's own event, never inside it."""
        self._queue.append(event)
        if self._busy:
            return
        self._busy = True
        try:
            while self._queue and not self.state.done:
                event = self._queue.popleft()
                before = self.state.phase
                self.state, commands = step(self.state, event)
                if self.state.phase is not before:
                    self._core.event("roll.phase", self._subject, phase=self.state.phase.value)
                for command in commands:
                    self._obey(command)
        finally:
            self._busy = False

    @property
    def _subject(self) -> str:
        return f"{self.group.cluster}/{self.group.node_group}"

    def _obey(self, command: v.Command) -> None:
        match command:
            case v.StartTimer(timer, seconds):
                self._timers[timer] = self._core.later(seconds, partial(self._fire, timer))
            case v.CancelTimer(timer):
                self._timers.pop(timer).cancelled = True
            case v.StartDrain(node):
                self._drain(node)
            case v.StopDrain(node):
                self._scaling.drains(self.group.cluster).stop(node)
            case v.ForceDrain(node):
                self._force(node)
            case v.Terminate(node):
                self._take(node, drained=True)
            case v.Withdraw(node):
                self._take(node, drained=False)
            case v.Cordon(nodes):
                self._cordon(nodes)
                self._feed(v.Cordoned(self._order()))
            case v.CordonOne(node):
                self._cordon((node,))
            case v.Uncordon(nodes):
                self._uncordon(nodes)
            case v.Finish(failure):
                self._end(failure)
            case _:
                self._resize(command)

    def _resize(self, command: v.Command) -> None:
        match command:
            case v.RaiseSizes(by):
                size = self.group.desired + by
                self._scaling.set_sizes(self.group, maximum=max(self.group.max_size + by, size), desired=size)
            case v.LowerSizes():
                self._lower()
            case v.RemoveSurge(by):
                self._remove_surge(by)
            case v.RestoreTemplate():
                self._restore()

    def _fire(self, timer: v.Timer) -> None:
        del self._timers[timer]
        self._feed(v.Timeout(timer))

    # --- nodes ------------------------------------------------------------------------------------------------

    def _find(self, node: str) -> InstanceRecord | None:
        return self._scaling.by_node.get((self.group.cluster, node))

    def _cordon(self, nodes: tuple[str, ...]) -> None:
        kube = self._core.kube(self.group.cluster)
        for node in nodes:
            instance = self._find(node)
            if instance is not None and instance.registered:
                kube.cordon(node, labels={EXCLUDE: "true"})

    def _order(self) -> tuple[str, ...]:
        order = list(self.state.waiting)
        self._core.rng(f"order {self.group.name}").shuffle(order)
        return tuple(order)

    def _uncordon(self, nodes: tuple[str, ...]) -> None:
        kube = self._core.kube(self.group.cluster)
        for node in nodes:
            instance = self._find(node)
            if instance is not None and instance.registered and not instance.leaving:
                kube.cordon(node, False)
                self._unlabel(node)

    def _unlabel(self, name: str) -> None:
        world = self._core.kube(self.group.cluster).world
        node = world.get("nodes", None, name)
        if node is not None and EXCLUDE in node["metadata"].get("labels", {}):
            labels = {k: text for k, text in node["metadata"]["labels"].items() if k != EXCLUDE}
            world.update("nodes", {**node, "metadata": {**node["metadata"], "labels": labels}})

    def _drain(self, node: str) -> None:
        """After the service's own delay; a repeated request (a further window) goes on with the drain there is."""
        drains = self._scaling.drains(self.group.cluster)
        if node in drains.active:
            drains.active[node].go()
            return

        self._soon(partial(self._begin_drain, node))

    def _begin_drain(self, node: str) -> None:
        old = self.state.flight.get(node)
        if old is not None and old.step is v.Step.DRAINING and not self.state.done:
            self._core.event("node.draining", node, group=self.group.node_group)
            drains = self._scaling.drains(self.group.cluster)
            drains.start(node, partial(self._feed, v.Drained(node)))

    def _soon(self, fn: Callable[[], object]) -> None:
        """When the service next looks."""
        wait = self._core.draw(self._core.settings.durations.roll_step, f"roll step {self.group.name}")
        self._core.post(wait, fn)

    def _force(self, node: str) -> None:
        drains = self._scaling.drains(self.group.cluster)
        running = drains.active.get(node) or drains.start(node, partial(self._feed, v.Drained(node)))
        running.force()

    def _take(self, node: str, *, drained: bool) -> None:
        instance = self._find(node)
        if instance is None or instance.leaving:
            self._feed(v.Terminated(node))
            return
        self._asked.add(node)
        self._scaling.terminate(instance, drained=drained)

    # --- sizes ------------------------------------------------------------------------------------------------

    def _shrink(self, by: int) -> int:
        """Take `by` off both sizes; how many instances must go for it."""
        wanted = max(self.group.min_size, self.group.desired - by)
        surplus = self._scaling.size(self.group) - wanted
        self._scaling.set_sizes(self.group, maximum=max(wanted, self.group.max_size - by), desired=wanted)
        return max(0, min(by, surplus))

    def _lower(self) -> None:
        if not self._shrink(1):
            self._feed(v.ScaledDown(""))
            return
        victim = self._scaling.pick_victim(self.group)
        self._lowering = victim.node_name
        self._scaling.terminate(victim)

    def _remove_surge(self, by: int) -> None:
        count = self._shrink(by)
        alive = self._scaling.alive(self.group)
        waiting = [i for i in alive if i.ready_at is None]
        new = [i for i in alive if i.ready_at is not None and i.template_version == self._target.number]
        victims = (waiting + new[::-1])[:count]
        self._surge = {i.node_name for i in victims}
        for victim in victims:
            self._scaling.terminate(victim)
        if not self._surge:
            self._feed(v.SurgeRemoved())

    def _restore(self) -> None:
        self.group.current = self._before
        self._core.changed("asg", self.group)
        for instance in self._scaling.alive(self.group):
            if instance.ready_at is None and instance.template_version == self._target.number:
                self._scaling.terminate(instance, drained=True)

    # --- what happens in the group (asg.Watcher) --------------------------------------------------------------

    def instance_ready(self, instance: InstanceRecord) -> None:
        if self.state.is_old(instance.node_name):
            if self.state.phase is v.Phase.UPGRADE:  # it joined after the others were cordoned
                self._core.kube(self.group.cluster).cordon(instance.node_name, labels={EXCLUDE: "true"})
            return
        if self.state.phase is not v.Phase.SETUP:
            self._feed(v.NodeReady(instance.node_name, instance.zone))

    def instance_leaving(self, instance: InstanceRecord) -> None:
        node = instance.node_name
        if node in self._asked or node == self._lowering or node in self._surge:
            return
        if self.state.is_old(node) or node in self.state.new:
            self._feed(v.NodeLost(node))

    def instance_gone(self, instance: InstanceRecord) -> None:
        node = instance.node_name
        if node in self._asked:
            self._asked.discard(node)
            self._soon(partial(self._feed, v.Terminated(node)))
        elif node == self._lowering:
            self._lowering = ""
            self._soon(partial(self._feed, v.ScaledDown(node)))
        elif node in self._surge:
            self._surge.discard(node)
            self._surge_gone.append(node)
            if not self._surge:
                self._feed(v.SurgeRemoved(tuple(self._surge_gone)))

    def desired_changed(self, by: int) -> None:
        self._feed(v.DesiredChanged(by))

    def _end(self, failure: v.Failure | None) -> None:
        for timer in self._timers.values():
            timer.cancelled = True
        self._timers.clear()
        self._scaling.unwatch(self.group.name, self)
        self._core.later(0.0, lambda: self._finished(failure))


def _same(one: TemplateVersion, other: TemplateVersion) -> bool:
    """Whether an instance of `one` needs no replacing by `other`: then a repeated update resumes where it failed."""
    return (one.image_id, one.instance_type, one.release_version, one.source_id, one.source_version) == (
        other.image_id,
        other.instance_type,
        other.release_version,
        other.source_id,
        other.source_version,
    )
