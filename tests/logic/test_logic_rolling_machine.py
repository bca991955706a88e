"""The rolling machine against an adversary: nodes come, go, block and time out in any order."""

from __future__ import annotations

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from baton.logic.rolling import values as v
from baton.logic.rolling.machine import begin, step

ZONES = ("a", "b", "c")


class Rolling(RuleBasedStateMachine):
    """Plays a cloud that answers commands in any order; holds what may never happen as invariants."""

    @initialize(
        count=st.integers(0, 6),
        parallelism=st.integers(1, 4),
        strategy=st.sampled_from(["DEFAULT", "MINIMAL"]),
        force=st.booleans(),
        windows=st.integers(1, 3),
        mode=st.sampled_from(list(v.FailureMode)),
    )
    def start(
        self, count: int, parallelism: int, strategy: str, force: bool, windows: int, mode: v.FailureMode
    ) -> None:
        self.settings = v.Settings(
            "main",
            parallelism=parallelism,
            surge=v.surge_size(3, parallelism, strategy),
            force=force,
            drain_windows=windows,
            failure_mode=mode,
        )
        self.state = begin(self.settings, count, [(f"o{i}", ZONES[i % 3]) for i in range(count)])
        self.size = self.state.base
        self.serial = 0
        self.pending = 0  # instances launched that have not joined
        self.drained: set[str] = set()
        self.forced: set[str] = set()
        self.draining: set[str] = set()
        self.terminating: set[str] = set()
        self.cordoning = False
        self.lowering = False
        self.surge_leaving = 0
        self.timers: set[v.Timer] = set()
        self.finishes: list[v.Finish] = []
        self.feed(v.TemplateReady())

    def feed(self, event: v.Event) -> None:
        self.state, commands = step(self.state, event)
        for command in commands:
            self.obey(command)

    def obey(self, command: v.Command) -> None:
        match command:
            case v.RaiseSizes(by):
                self.pending += by
            case v.Cordon():
                self.cordoning = True
            case v.CordonOne(node):
                assert not self.settings.surge
            case v.StartDrain(node):
                self.draining.add(node)
            case v.StopDrain(node):
                self.draining.discard(node)
            case v.ForceDrain(node):
                assert self.settings.force, "nothing is deleted past a budget unless force was asked for"
                self.forced.add(node)
            case v.Terminate(node):
                assert node in self.drained, "a node that was not drained was terminated"
                self.terminating.add(node)
                self.pending += 1
            case v.Withdraw(node):
                self.terminating.add(node)
                self.pending += 1
            case v.LowerSizes():
                assert not self.lowering, "scale down goes one at a time"
                self.lowering = True
            case v.RemoveSurge(by):
                self.surge_leaving = by
            case v.StartTimer(timer):
                self.timers.add(timer)
            case v.CancelTimer(timer):
                assert timer in self.timers, "a timer that does not run was cancelled"
                self.timers.discard(timer)
            case v.Finish():
                self.finishes.append(command)

    @precondition(lambda self: self.pending and self.state.phase not in (v.Phase.SETUP,) and not self.state.done)
    @rule(zone=st.sampled_from(ZONES))
    def node_joins(self, zone: str) -> None:
        self.pending -= 1
        self.serial += 1
        self.feed(v.NodeReady(f"n{self.serial}", zone))

    @precondition(lambda self: self.cordoning and not self.state.done)
    @rule(data=st.data())
    def cordoned(self, data: st.DataObject) -> None:
        self.cordoning = False
        self.feed(v.Cordoned(tuple(data.draw(st.permutations([n.name for n in self.state.old])))))

    @precondition(lambda self: self.draining and not self.state.done)
    @rule(data=st.data())
    def drained_node(self, data: st.DataObject) -> None:
        node = data.draw(st.sampled_from(sorted(self.draining)))
        self.draining.discard(node)
        self.drained.add(node)
        self.feed(v.Drained(node))

    @precondition(lambda self: self.terminating)
    @rule(data=st.data())
    def instance_gone(self, data: st.DataObject) -> None:
        node = data.draw(st.sampled_from(sorted(self.terminating)))
        self.terminating.discard(node)
        if not self.state.done:
            self.feed(v.Terminated(node))

    @precondition(lambda self: self.timers and not self.state.done)
    @rule(data=st.data())
    def timer_fires(self, data: st.DataObject) -> None:
        timer = data.draw(st.sampled_from(sorted(self.timers)))
        self.timers.discard(timer)
        self.feed(v.Timeout(timer))

    @precondition(lambda self: self.lowering and not self.state.done)
    @rule(data=st.data())
    def scaled_down(self, data: st.DataObject) -> None:
        self.lowering = False
        if self.pending:
            self.pending -= 1
            self.feed(v.ScaledDown(""))
        elif self.state.new:
            self.feed(v.ScaledDown(data.draw(st.sampled_from(sorted(self.state.new)))))

    @precondition(lambda self: self.surge_leaving and not self.state.done)
    @rule()
    def surge_gone(self) -> None:
        from_pending = min(self.pending, self.surge_leaving)
        self.pending -= from_pending
        gone = tuple(self.state.new)[: self.surge_leaving - from_pending]
        self.surge_leaving = 0
        self.feed(v.SurgeRemoved(gone))

    @precondition(lambda self: not self.state.done and (self.state.old or self.state.new))
    @rule(data=st.data())
    def node_is_lost(self, data: st.DataObject) -> None:
        names = [n for n in (*(o.name for o in self.state.old), *self.state.new) if n not in self.terminating]
        if not names:
            return
        node = data.draw(st.sampled_from(sorted(names)))
        self.draining.discard(node)
        self.pending += 1
        self.feed(v.NodeLost(node))

    @precondition(lambda self: not self.state.done)
    @rule(by=st.integers(-1, 2))
    def somebody_resizes(self, by: int) -> None:
        self.pending += max(0, by)
        self.feed(v.DesiredChanged(by))

    @precondition(lambda self: self.state.done)
    @rule(event=st.sampled_from([v.TemplateReady(), v.NodeReady("late", "a"), v.ScaledDown(""), v.Timeout(v.JOIN)]))
    def nothing_is_taken_after_the_end(self, event: v.Event) -> None:
        with pytest.raises(v.UnlistedEventError):
            step(self.state, event)

    @invariant()
    def never_more_in_flight_than_allowed(self) -> None:
        if hasattr(self, "state"):
            assert len(self.state.flight) <= self.settings.parallelism

    @invariant()
    def finishes_once_and_leaves_no_timer(self) -> None:
        if hasattr(self, "state"):
            assert len(self.finishes) == (1 if self.state.done else 0)
            assert not (self.state.done and self.timers)

    @invariant()
    def something_is_always_under_way(self) -> None:
        """The machine never stands still: unless done, an answer or a timer is outstanding."""
        if hasattr(self, "state") and not self.state.done:
            assert (
                self.timers
                or self.draining
                or self.terminating
                or self.cordoning
                or self.lowering
                or self.surge_leaving
            )

    def teardown(self) -> None:
        """Always ends: let every answer come in and every timer run out."""
        if not hasattr(self, "state"):
            return
        for _ in range(2000):
            if self.state.done:
                break
            self._answer()
        assert self.state.done

    def _answer(self) -> None:
        if self.cordoning:
            self.cordoning = False
            self.feed(v.Cordoned(tuple(n.name for n in self.state.old)))
        elif self.surge_leaving:
            self.surge_gone()
        elif self.lowering:
            self.lowering = False
            self.pending -= 1 if self.pending else 0
            self.feed(v.ScaledDown("" if not self.state.new else list(self.state.new)[-1]))
        elif self.terminating:
            self.feed(v.Terminated(self.terminating.pop()))
        elif self.timers:
            timer = sorted(self.timers)[0]
            self.timers.discard(timer)
            self.feed(v.Timeout(timer))


Rolling.TestCase.settings = hypothesis_settings(
    max_examples=150, stateful_step_count=60, deadline=None, derandomize=True
)
TestLogicRollingMachine = Rolling.TestCase
TestLogicRollingMachine.__doc__ = (
    "An update that stalls, takes too many nodes or terminates undrained ones would show here."
)


def _available_floor_case(parallelism: int, joined: int) -> int:
    """The lowest number of nodes carrying load when replacements come only after the old ones are gone."""
    settings = v.Settings("main", parallelism=parallelism, surge=0)
    state = begin(settings, 6, [(f"o{i}", ZONES[i % 3]) for i in range(6)])
    state, _ = step(state, v.TemplateReady())
    state, _ = step(state, v.Cordoned(tuple(n.name for n in state.old)))
    lowest = state.available
    for i in range(joined):
        for node in list(state.flight.values()):
            state, _ = step(state, v.Drained(node.name))
            state, _ = step(state, v.Timeout(v.Timer("settle", node.name)))
            state, _ = step(state, v.Terminated(node.name))
        lowest = min(lowest, state.available)
        state, _ = step(state, v.NodeReady(f"n{i}", "a"))
        lowest = min(lowest, state.available)
    return lowest


def test_logic_rolling_availability_never_falls_below_the_promise() -> None:
    """max_unavailable counts nodes that are away for any reason of the update, late replacements included."""
    assert [_available_floor_case(p, 4) for p in (1, 2, 3)] == [5, 4, 3]
