"""The rolling machine's timelines, refusals and table."""

from __future__ import annotations

import pytest

from baton.errors import UsageError
from baton.logic.rolling import values as v
from baton.logic.rolling.diagram import diagram
from baton.logic.rolling.machine import STEPS, TRANSITIONS, begin, step

ZONES = ("a", "b", "c")
OLD = (("o1", "a"), ("o2", "b"), ("o3", "c"))
ORDER = ("o2", "o3", "o1")


def play(state: v.State, *events: v.Event) -> tuple[v.State, list[v.Command]]:
    """Feed the events; the final state and the last event's commands."""
    commands: tuple[v.Command, ...] = ()
    for event in events:
        state, commands = step(state, event)
    return state, list(commands)


def started(**changes: object) -> v.State:
    """A three-node group in three zones whose surge is complete and whose old nodes are cordoned."""
    settings = v.Settings("main", **{"surge": 6, **changes})  # type: ignore[arg-type]
    ready = [v.NodeReady(f"n{i}", ZONES[i % 3]) for i in range(3)] if settings.surge else []
    return play(begin(settings, 3, OLD), v.TemplateReady(), *ready, v.Cordoned(ORDER))[0]


def roll(state: v.State, node: str) -> v.State:
    return play(state, v.Drained(node), v.Timeout(v.Timer("settle", node)), v.Terminated(node))[0]


def test_logic_rolling_surge_is_twice_the_zones_or_max_unavailable() -> None:
    """A wrong surge would rehearse with capacity that EKS never adds."""
    assert [v.surge_size(5, 1), v.surge_size(5, 20), v.surge_size(3, 6), v.surge_size(3, 1, "MINIMAL")] == [
        10,
        20,
        6,
        0,
    ]
    with pytest.raises(UsageError):
        v.surge_size(3, 1, "FAST")


def test_logic_rolling_whole_update_command_by_command() -> None:
    """A changed order of commands would drain before there is somewhere to go, or end with the wrong size."""
    state = begin(v.Settings("main", parallelism=1, surge=6), 3, OLD)
    log: list[str] = []

    def feed(event: v.Event) -> None:
        nonlocal state
        state, commands = step(state, event)
        log.append(f"{type(event).__name__}: {', '.join(_short(c) for c in commands)}")

    feed(v.TemplateReady())
    for name, zone in (("n1", "a"), ("n2", "a"), ("n3", "b"), ("n4", "c")):
        feed(v.NodeReady(name, zone))
    feed(v.Cordoned(ORDER))
    for node in ORDER:
        feed(v.Drained(node))
        feed(v.Timeout(v.Timer("settle", node)))
        feed(v.NodeReady(f"for-{node}", "a"))
        feed(v.Terminated(node))
    for node in ("n1", "n2", "n3", "n4"):
        feed(v.ScaledDown(node))
    feed(v.NodeReady("n5", "b"))
    feed(v.NodeReady("n6", "c"))
    feed(v.ScaledDown("n5"))
    feed(v.ScaledDown("n6"))
    assert log == [
        "TemplateReady: RaiseSizes 6, StartTimer join 900",
        "NodeReady: ",
        "NodeReady: ",
        "NodeReady: ",
        "NodeReady: CancelTimer join, Cordon o1+o2+o3",
        "Cordoned: StartDrain o2, StartTimer drain:o2 900",
        "Drained: CancelTimer drain:o2, StartTimer settle:o2 60",
        "Timeout: Terminate o2",
        "NodeReady: ",
        "Terminated: StartDrain o3, StartTimer drain:o3 900",
        "Drained: CancelTimer drain:o3, StartTimer settle:o3 60",
        "Timeout: Terminate o3",
        "NodeReady: ",
        "Terminated: StartDrain o1, StartTimer drain:o1 900",
        "Drained: CancelTimer drain:o1, StartTimer settle:o1 60",
        "Timeout: Terminate o1",
        "NodeReady: ",
        "Terminated: LowerSizes",
        "ScaledDown: LowerSizes",
        "ScaledDown: LowerSizes",
        "ScaledDown: LowerSizes",
        "ScaledDown: StartTimer join 900",
        "NodeReady: CancelTimer join, LowerSizes",
        "NodeReady: ",
        "ScaledDown: LowerSizes",
        "ScaledDown: Finish",
    ]
    assert state.phase is v.Phase.SUCCEEDED
    assert len(state.new) == state.target == 3


def _short(command: v.Command) -> str:
    name = type(command).__name__
    if isinstance(command, v.Cordon | v.Uncordon):
        return f"{name} {'+'.join(command.nodes)}"
    if isinstance(command, v.StartTimer):
        return f"{name} {_timer(command.timer)} {command.seconds:.0f}"
    if isinstance(command, v.CancelTimer):
        return f"{name} {_timer(command.timer)}"
    if isinstance(command, v.RaiseSizes | v.RemoveSurge):
        return f"{name} {command.by}"
    if isinstance(command, v.LowerSizes | v.RestoreTemplate):
        return name
    if isinstance(command, v.Finish):
        return name if command.failure is None else f"{name} {command.failure.code}"
    return f"{name} {command.node}"


def _timer(timer: v.Timer) -> str:
    return f"{timer.kind}:{timer.node}" if timer.node else timer.kind


def test_logic_rolling_minimal_waits_for_each_replacement() -> None:
    """MINIMAL without waiting for the replacement would empty a group that asked for one node at a time."""
    state = roll(started(surge=0), "o2")
    assert state.phase is v.Phase.UPGRADE
    assert [n.step for n in state.old] == [v.Step.WAITING, v.Step.WAITING]
    state, commands = step(state, v.NodeReady("n1", "b"))
    assert v.StartDrain("o3") in commands
    state = play(roll(state, "o3"), v.NodeReady("n2", "c"))[0]
    state, commands = play(roll(state, "o1"), v.NodeReady("n3", "a"))
    assert (state.phase, commands[-1]) == (v.Phase.SUCCEEDED, v.Finish())


def test_logic_rolling_parallelism_takes_several_nodes() -> None:
    """max_unavailable above one must shorten an update, not be ignored."""
    state = started(parallelism=2)
    assert list(state.flight) == ["o2", "o3"]


def test_logic_rolling_nodes_that_never_join_fail_and_give_the_surge_back() -> None:
    """A broken user data must end as NodeCreationFailure after 15 minutes with the group as it was."""
    state, commands = play(begin(v.Settings("main", surge=6), 3, OLD), v.TemplateReady(), v.Timeout(v.JOIN))
    assert [_short(c) for c in commands] == ["RestoreTemplate", "RemoveSurge 6"]
    state, commands = step(state, v.SurgeRemoved())
    failure = commands[-1].failure  # type: ignore[union-attr]
    assert failure is not None
    assert failure.code == "NodeCreationFailure"
    assert failure.message == "Couldn't proceed with upgrade process as new nodes are not joining node group main"
    assert state.phase is v.Phase.FAILED


def test_logic_rolling_blocked_drain_fails_with_the_node_and_rolls_back() -> None:
    """A PDB that allows nothing must end as PodEvictionFailure naming the node, and put the old template back."""
    state, commands = step(started(), v.Timeout(v.Timer("drain", "o2")))
    assert [_short(c) for c in commands] == ["StopDrain o2", "Uncordon o1+o3+o2", "RestoreTemplate", "RemoveSurge 6"]
    assert state.failure == v.Failure(
        "PodEvictionFailure",
        "Reached max retries while trying to evict pods from nodes in node group main",
        ("o2",),
    )
    state, commands = step(state, v.SurgeRemoved(("n0", "n1", "n2")))
    assert commands == (v.Finish(state.failure),)


def test_logic_rolling_rollback_replaces_the_new_nodes_one_by_one() -> None:
    """A half-done update that fails must not leave a mixed group when rollback was asked for."""
    state = play(roll(started(), "o2"), v.NodeReady("n9", "b"), v.Timeout(v.Timer("drain", "o3")))[0]
    state, commands = step(state, v.SurgeRemoved(("n0", "n1", "n2")))
    assert commands == (v.Withdraw("n9"),)
    state, commands = step(state, v.Terminated("n9"))
    assert commands == (v.StartTimer(v.JOIN, 900.0),)
    state, commands = step(state, v.NodeReady("o9", "b"))
    assert [_short(c) for c in commands] == ["CancelTimer join", "Finish PodEvictionFailure"]


def test_logic_rolling_mixed_mode_keeps_what_was_replaced() -> None:
    """Mode mixed must leave replaced nodes new and the others old, as seen in the field."""
    state = roll(started(failure_mode=v.FailureMode.MIXED), "o2")
    state, commands = step(state, v.Timeout(v.Timer("drain", "o3")))
    assert not any(isinstance(c, v.RestoreTemplate) for c in commands)
    state, commands = step(state, v.SurgeRemoved(("n0", "n1")))
    assert isinstance(commands[-1], v.Finish)
    assert list(state.new) == ["n2"]


def test_logic_rolling_force_deletes_only_after_the_window() -> None:
    """Force must first try evictions for 15 minutes; deleting at once would break budgets needlessly."""
    state, commands = step(started(force=True), v.Timeout(v.Timer("drain", "o2")))
    assert commands[0] == v.ForceDrain("o2")
    state, _ = step(state, v.Drained("o2"))
    assert state.flight["o2"].step is v.Step.SETTLING


def test_logic_rolling_drain_windows_give_the_observed_45_minutes() -> None:
    """The observed 45 minutes until Failed is three windows; fewer would fail a rehearsal too early."""
    state = started(drain_windows=3)
    timer = v.Timer("drain", "o2")
    for _ in range(2):
        state, commands = step(state, v.Timeout(timer))
        assert commands == (v.StartDrain("o2"), v.StartTimer(timer, 900.0))
    state, _ = step(state, v.Timeout(timer))
    assert state.phase is v.Phase.ROLLBACK


def test_logic_rolling_autoscaler_ends_the_scale_down() -> None:
    """While an autoscaler grows the group EKS leaves the larger size; shrinking on would fight it."""
    state = started()
    for node in ORDER:
        state = roll(state, node)
    state = play(state, v.NodeReady("x", "a"))[0]
    assert state.phase is v.Phase.SCALE_DOWN
    state, commands = step(state, v.DesiredChanged(2))
    assert (state.phase, commands[-1]) == (v.Phase.SUCCEEDED, v.Finish())


def test_logic_rolling_empty_group_succeeds_at_once() -> None:
    """A group scaled to zero must still take its new template."""
    state, commands = step(begin(v.Settings("main", surge=6), 0, ()), v.TemplateReady())
    assert (state.phase, commands) == (v.Phase.SUCCEEDED, (v.Finish(),))


@pytest.mark.parametrize(
    "event",
    [
        v.TemplateReady(),
        v.Drained("o1"),
        v.Drained("nobody"),
        v.Terminated("o2"),
        v.NodeLost("nobody"),
        v.NodeReady("n1", "a"),
        v.Timeout(v.Timer("settle", "o2")),
        v.Timeout(v.JOIN),
        v.ScaledDown("n1"),
        v.SurgeRemoved(),
        v.Cordoned(ORDER),
    ],
)
def test_logic_rolling_unlisted_events_raise_and_change_nothing(event: v.Event) -> None:
    """An event out of place that was swallowed would hide a driver that lost count of its nodes."""
    state = started()
    before = repr(state)
    with pytest.raises(v.UnlistedEventError):
        step(state, event)
    assert repr(state) == before


def test_logic_rolling_bad_settings_are_refused() -> None:
    """max_unavailable 0 or above 100 is not something EKS takes."""
    for parallelism in (0, 101):
        with pytest.raises(UsageError):
            v.Settings("main", parallelism=parallelism)


def test_logic_rolling_diagram_shows_every_transition() -> None:
    """The picture in the documentation must not miss a way through the machine."""
    text = diagram()
    for phase, events in TRANSITIONS.items():
        for _, targets in events.values():
            for target in targets:
                assert f"{phase.value} --> {target.value}".replace("-up", "_up").replace("-down", "_down") in text
    for name in STEPS:
        assert f"{name.value} -->" in text
