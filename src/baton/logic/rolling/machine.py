"""The rolling machine: `begin(...)`, then `step(state, event) -> (state, commands)` until `state.done`.

TRANSITIONS lists, for every phase, the events it takes and the phases each may lead to; STEPS does the same for one
old node within the upgrade phase. What is not listed raises UnlistedEventError and changes nothing.
The promise kept throughout: a further old node is taken only while, counting it as away, at least
`base - parallelism` nodes still carry load, `base` being the size of the group when the update began.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from baton.logic.rolling.nodes import Nodes
from baton.logic.rolling.values import (
    JOIN,
    NODE_CREATION_FAILURE,
    POD_EVICTION_FAILURE,
    CancelTimer,
    Command,
    Cordon,
    Cordoned,
    CordonOne,
    DesiredChanged,
    Drained,
    Event,
    Failure,
    FailureMode,
    Finish,
    ForceDrain,
    LowerSizes,
    NodeLost,
    NodeReady,
    OldNode,
    Phase,
    RaiseSizes,
    RemoveSurge,
    RestoreTemplate,
    ScaledDown,
    Settings,
    SetupFailed,
    StartDrain,
    StartTimer,
    State,
    Step,
    StopDrain,
    SurgeRemoved,
    TemplateReady,
    Terminate,
    Terminated,
    Timeout,
    Timer,
    Uncordon,
    UnlistedEventError,
    Withdraw,
)

Result = tuple[State, tuple[Command, ...]]

STEPS: Mapping[Step, Mapping[str, tuple[Step, ...]]] = {
    Step.WAITING: {"taken": (Step.DRAINING,)},
    Step.DRAINING: {"Drained": (Step.SETTLING,), "Timeout(drain)": (Step.FORCING, Step.DRAINING)},
    Step.FORCING: {"Drained": (Step.SETTLING,)},
    Step.SETTLING: {"Timeout(settle)": (Step.TERMINATING,)},
    Step.TERMINATING: {"Terminated": ()},
}


def begin(settings: Settings, desired: int, old: Iterable[tuple[str, str]]) -> State:
    """The state before anything was done. `old` are (name, zone) of the nodes on the old template."""
    nodes = Nodes(old)
    return State(settings, target=desired, base=min(desired, len(nodes)), waiting=nodes, flight={}, new=Nodes())


def step(state: State, event: Event) -> Result:
    """What follows from `event`. Raises UnlistedEventError, leaving everything as it was, when it is not expected."""
    listed = TRANSITIONS[state.phase].get(type(event))
    if listed is None:
        raise _unlisted(state, event)
    handler, targets = listed
    after, commands = handler(state, event)
    if after.phase not in targets:  # the table is the truth; a handler that strays is a defect
        raise _unlisted(state, event)
    return after, commands


def _unlisted(state: State, event: Event) -> UnlistedEventError:
    return UnlistedEventError(
        f"{event} is not expected in phase {state.phase}",
        where=f"node group {state.settings.name}",
        hint="see the transition table in baton.logic.rolling.machine",
    )


# --- small helpers on the state --------------------------------------------------------------------------------


def _moved(state: State, node: OldNode) -> State:
    """What is known of a node in flight has changed."""
    rest = dict(state.flight)
    del rest[node.name]
    rest[node.name] = node
    return state.moved(state.waiting, rest, state.new)


def _without(state: State, name: str) -> State:
    flight = state.flight
    if name in flight:
        flight = dict(flight)
        del flight[name]
    return state.moved(state.waiting.minus(name), flight, state.new.minus(name))


def _start_join(state: State) -> Result:
    """Wait for nodes to join, from now on."""
    again: tuple[Command, ...] = (CancelTimer(JOIN),) if state.joining else ()
    return state._replace(joining=True), (*again, StartTimer(JOIN, state.settings.join_seconds))


def _stop_join(state: State) -> Result:
    return (state._replace(joining=False), (CancelTimer(JOIN),)) if state.joining else (state, ())


def _chain(result: Result, then: Callable[[State], Result]) -> Result:
    state, commands = result
    state, more = then(state)
    return state, commands + more


def _known(state: State, event: Event, name: str) -> None:
    if not state.is_old(name) and name not in state.new:
        raise _unlisted(state, event)


# --- setup, scale up, cordon -----------------------------------------------------------------------------------


def _template_ready(state: State, event: Event) -> Result:
    if not state.waiting:
        return state._replace(phase=Phase.SUCCEEDED), (Finish(),)
    if state.settings.surge == 0:
        return _cordon(state)
    surge = state.settings.surge
    state = state._replace(phase=Phase.SCALE_UP, raised=surge)
    return _chain((state, (RaiseSizes(surge),)), _start_join)


def _setup_failed(state: State, event: Event) -> Result:
    assert isinstance(event, SetupFailed)
    failure = Failure(event.code, event.message, event.resource_ids)
    return state._replace(phase=Phase.FAILED, failure=failure), (Finish(failure),)


def _cordon(state: State) -> Result:
    nodes = tuple(state.waiting) if state.settings.surge else ()
    return state._replace(phase=Phase.CORDON), (Cordon(nodes),)


def _zones_covered(state: State) -> bool:
    return state.waiting.zones <= state.new.zones


def _ready(state: State, event: Event) -> Result:
    """A new node counts; what it makes possible depends on the phase."""
    assert isinstance(event, NodeReady)
    if state.is_old(event.node) or event.node in state.new:
        raise _unlisted(state, event)
    return _progress(_joined(state, event), restart=True)


def _joined(state: State, event: NodeReady) -> State:
    return state.moved(state.waiting, state.flight, state.new.plus(event.node, event.zone))


def _lost(state: State, event: Event) -> Result:
    assert isinstance(event, NodeLost)
    _known(state, event, event.node)
    node = state.flight.get(event.node)
    ran = None if node is None else node.timer
    cancelled = () if ran is None else (CancelTimer(ran),)
    return _chain((_without(state, event.node), cancelled), _progress)


def _progress(state: State, restart: bool = False) -> Result:
    """Go on as far as the nodes allow. `restart`: a node came, so a wait for nodes begins anew."""
    phase = state.phase
    if phase is Phase.UPGRADE:
        return _take(state, restart)
    if phase is Phase.SCALE_UP:
        return _chain(_stop_join(state), _cordon) if _zones_covered(state) else (state, ())
    if phase is Phase.SCALE_DOWN:
        return _lower(state, restart)
    return state, ()


def _join_timeout(state: State, event: Event) -> Result:
    assert isinstance(event, Timeout)
    if event.timer != JOIN or not state.joining:
        raise _unlisted(state, event)
    return _fail(state._replace(joining=False), NODE_CREATION_FAILURE)


def _cordoned(state: State, event: Event) -> Result:
    assert isinstance(event, Cordoned)
    if not set(state.waiting) <= set(event.order) or len(set(event.order)) != len(event.order):
        raise _unlisted(state, event)
    return _take(state._replace(phase=Phase.UPGRADE, order=event.order))


def _desired_changed(state: State, event: Event) -> Result:
    assert isinstance(event, DesiredChanged)
    target = max(0, state.target + event.by)
    state = state._replace(target=target, base=min(state.base, target))
    if state.phase is Phase.SCALE_DOWN and event.by > 0:
        # An autoscaler is adding nodes: the guide says to leave at once and keep the larger size.
        return _succeed(state)
    return _progress(state)


# --- upgrade ---------------------------------------------------------------------------------------------------


def _take(state: State, restart: bool = False) -> Result:
    """Begin to drain as many further old nodes as may be away."""
    at_once, waiting = state.settings.parallelism, len(state.waiting)
    room = min(at_once - len(state.flight), waiting + len(state.new) - (state.base - at_once), waiting)
    if room <= 0:
        return _settle_wait(state, restart)
    state, commands = _take_next(state, room)
    state, more = _settle_wait(state, restart)
    return state, commands + more


def _take_next(state: State, count: int) -> Result:
    settings, waiting, flight, cursor = state.settings, state.waiting, dict(state.flight), state.cursor
    commands: list[Command] = []
    for _ in range(count):
        while state.order[cursor] not in waiting:  # lost meanwhile
            cursor += 1
        name = state.order[cursor]
        cursor += 1
        flight[name] = OldNode(name, waiting[name], Step.DRAINING)
        waiting = waiting.minus(name)
        if not settings.surge:
            commands.append(CordonOne(name))
        commands += (StartDrain(name), StartTimer(Timer("drain", name), settings.drain_seconds))
    return state._replace(waiting=waiting, flight=flight, cursor=cursor), tuple(commands)


def _settle_wait(state: State, restart: bool) -> Result:
    """After taking what could be taken: done, working, or waiting for nodes to join."""
    if state.flight:
        return _stop_join(state)
    if not state.waiting:
        if state.raised:
            return _chain(_stop_join(state), lambda s: _lower(s._replace(phase=Phase.SCALE_DOWN)))
        if len(state.new) >= state.base:
            return _succeed(state)
    if restart or not state.joining:
        return _start_join(state)
    return state, ()


def _drained(state: State, event: Event) -> Result:
    assert isinstance(event, Drained)
    name = event.node
    node = state.flight.get(name)
    if node is None or node.step not in (Step.DRAINING, Step.FORCING):
        raise _unlisted(state, event)
    settle = StartTimer(Timer("settle", name), state.settings.settle_seconds)
    settling = OldNode(name, node.zone, Step.SETTLING, node.windows)
    return _moved(state, settling), (CancelTimer(Timer("drain", name)), settle)


def _terminated(state: State, event: Event) -> Result:
    assert isinstance(event, Terminated)
    node = state.flight.get(event.node)
    if node is None or node.step is not Step.TERMINATING:
        raise _unlisted(state, event)
    return _progress(_without(state, event.node))


def _timeout(state: State, event: Event) -> Result:
    assert isinstance(event, Timeout)
    timer = event.timer
    if timer == JOIN:
        return _join_timeout(state, event)
    node = state.flight.get(timer.node)
    if node is None or node.timer != timer:
        raise _unlisted(state, event)
    if node.step is Step.SETTLING:
        going = OldNode(node.name, node.zone, Step.TERMINATING, node.windows)
        return _moved(state, going), (Terminate(node.name),)
    again = StartTimer(timer, state.settings.drain_seconds)
    if state.settings.force and node.step is Step.DRAINING:
        # Deletion has a last window too: a finalizer or an endless grace period must not hold the update for ever.
        return _moved(state, node._replace(step=Step.FORCING)), (ForceDrain(node.name), again)
    if node.step is Step.DRAINING and node.windows + 1 < state.settings.drain_windows:
        return _moved(state, node._replace(windows=node.windows + 1)), (StartDrain(node.name), again)
    return _fail(state, POD_EVICTION_FAILURE, node)


# --- scale down ------------------------------------------------------------------------------------------------


def _succeed(state: State) -> Result:
    ended, cancelled = _stop_join(state._replace(phase=Phase.SUCCEEDED))
    return ended, (*cancelled, Finish())


def _lower(state: State, restart: bool = False, force: bool = False) -> Result:
    """Give back one node of the surge, once that leaves the group as large as it was."""
    if state.lowering:
        return state, ()
    if force or len(state.new) >= state.base + (1 if state.raised else 0):
        if not state.raised:
            return _succeed(state)
        lowering, cancelled = _stop_join(state._replace(raised=state.raised - 1, lowering=True))
        return lowering, (*cancelled, LowerSizes())
    if restart or not state.joining:
        return _start_join(state)
    return state, ()


def _scaled_down(state: State, event: Event) -> Result:
    assert isinstance(event, ScaledDown)
    if not state.lowering:
        raise _unlisted(state, event)
    return _lower(_without(state, event.node)._replace(lowering=False))


def _scale_down_timeout(state: State, event: Event) -> Result:
    """Replacements that never came do not fail an update whose old nodes are all gone: the group shrinks anyway."""
    assert isinstance(event, Timeout)
    if event.timer != JOIN or not state.joining:
        raise _unlisted(state, event)
    return _lower(state._replace(joining=False), force=True)


# --- rollback --------------------------------------------------------------------------------------------------


def _fail(state: State, code: str, late: OldNode | None = None) -> Result:
    """Stop taking nodes, give the surge back and, in mode rollback, put the old template back everywhere.

    `late` is the node whose drain took too long.
    """
    texts = {
        POD_EVICTION_FAILURE: "Reached max retries while trying to evict pods from nodes in node group ",
        NODE_CREATION_FAILURE: "Couldn't proceed with upgrade process as new nodes are not joining node group ",
    }
    failure = Failure(code, texts[code] + state.settings.name, () if late is None else (late.name,))
    cancelled = [CancelTimer(t) for t in state.timers if late is None or t != late.timer]
    busy = [n for n in state.flight.values() if n.step in (Step.DRAINING, Step.FORCING)]
    back = [n for n in state.flight.values() if n.step is not Step.TERMINATING]
    kept = tuple((*(state.waiting if state.settings.surge else ()), *(n.name for n in back)))
    commands: list[Command] = [*cancelled, *(StopDrain(n.name) for n in busy)]
    if state.order and kept:  # the cordon has been done
        commands.append(Uncordon(kept))
    if _restores(state.settings, code):
        commands.append(RestoreTemplate())
    waiting = Nodes((*state.waiting.items(), *((n.name, n.zone) for n in back)))
    flight = {name: node for name, node in state.flight.items() if node.step is Step.TERMINATING}
    state = state._replace(phase=Phase.ROLLBACK, waiting=waiting, flight=flight, joining=False, failure=failure)
    if state.raised:
        commands.append(RemoveSurge(state.raised))
        return state._replace(raised=0), tuple(commands)
    return _chain((state._replace(surge_removed=True), tuple(commands)), _withdraw)


def _restores(settings: Settings, code: str) -> bool:
    return code == NODE_CREATION_FAILURE or settings.failure_mode is FailureMode.ROLLBACK


def _withdraw(state: State) -> Result:
    """Replace the remaining new nodes one at a time, then end as Failed."""
    if not state.surge_removed or state.withdrawing or state.joining:
        return state, ()
    assert state.failure is not None
    if state.new and _restores(state.settings, state.failure.code):
        node = next(iter(state.new))
        return state._replace(withdrawing=node), (Withdraw(node),)
    if state.flight:  # still terminating
        return state, ()
    return state._replace(phase=Phase.FAILED), (Finish(state.failure),)


def _surge_removed(state: State, event: Event) -> Result:
    assert isinstance(event, SurgeRemoved)
    if state.surge_removed:
        raise _unlisted(state, event)
    for name in event.gone:
        state = _without(state, name)
    return _withdraw(state._replace(surge_removed=True))


def _rollback_ready(state: State, event: Event) -> Result:
    """A node came while rolling back: on the old template when that was restored, else one more new node."""
    assert isinstance(event, NodeReady)
    assert state.failure is not None
    if not _restores(state.settings, state.failure.code):
        return _joined(state, event), ()
    if state.joining:
        return _chain(_stop_join(state), _withdraw)
    return state._replace(spare=state.spare + 1), ()


def _rollback_gone(state: State, event: Event) -> Result:
    """An old node that was terminating, the new node being withdrawn, or one that was lost."""
    assert isinstance(event, Terminated | NodeLost)
    node = state.flight.get(event.node)
    asked = event.node == state.withdrawing or (node is not None and node.step is Step.TERMINATING)
    if isinstance(event, Terminated) and not asked:
        raise _unlisted(state, event)
    _known(state, event, event.node)
    withdrawn = event.node == state.withdrawing
    state = _without(state, event.node)
    if not withdrawn:
        return _withdraw(state)
    state = state._replace(withdrawing="")
    if state.spare:
        return _withdraw(state._replace(spare=state.spare - 1))
    return _start_join(state)


def _rollback_timeout(state: State, event: Event) -> Result:
    """The replacement of a withdrawn node never came: stop here, the update has failed already."""
    assert isinstance(event, Timeout)
    if event.timer != JOIN or not state.joining:
        raise _unlisted(state, event)
    state = state._replace(joining=False, phase=Phase.FAILED)
    return state, (Finish(state.failure),)


def _rollback_desired(state: State, event: Event) -> Result:
    assert isinstance(event, DesiredChanged)
    return state._replace(target=max(0, state.target + event.by)), ()


Handler = Callable[[State, Event], Result]
_P = Phase
_GO_ON = (_P.UPGRADE, _P.SCALE_DOWN, _P.SUCCEEDED)

TRANSITIONS: Mapping[Phase, Mapping[type, tuple[Handler, tuple[Phase, ...]]]] = {
    _P.SETUP: {
        TemplateReady: (_template_ready, (_P.SCALE_UP, _P.CORDON, _P.SUCCEEDED)),
        SetupFailed: (_setup_failed, (_P.FAILED,)),
        NodeLost: (_lost, (_P.SETUP,)),
        DesiredChanged: (_desired_changed, (_P.SETUP,)),
    },
    _P.SCALE_UP: {
        NodeReady: (_ready, (_P.SCALE_UP, _P.CORDON)),
        NodeLost: (_lost, (_P.SCALE_UP, _P.CORDON)),
        DesiredChanged: (_desired_changed, (_P.SCALE_UP, _P.CORDON)),
        Timeout: (_join_timeout, (_P.ROLLBACK,)),
    },
    _P.CORDON: {
        NodeReady: (_ready, (_P.CORDON,)),
        NodeLost: (_lost, (_P.CORDON,)),
        DesiredChanged: (_desired_changed, (_P.CORDON,)),
        Cordoned: (_cordoned, _GO_ON),
    },
    _P.UPGRADE: {
        Drained: (_drained, (_P.UPGRADE,)),
        Timeout: (_timeout, (_P.UPGRADE, _P.ROLLBACK, _P.FAILED)),
        Terminated: (_terminated, _GO_ON),
        NodeReady: (_ready, _GO_ON),
        NodeLost: (_lost, _GO_ON),
        DesiredChanged: (_desired_changed, _GO_ON),
    },
    _P.SCALE_DOWN: {
        ScaledDown: (_scaled_down, (_P.SCALE_DOWN, _P.SUCCEEDED)),
        NodeReady: (_ready, (_P.SCALE_DOWN, _P.SUCCEEDED)),
        NodeLost: (_lost, (_P.SCALE_DOWN, _P.SUCCEEDED)),
        DesiredChanged: (_desired_changed, (_P.SCALE_DOWN, _P.SUCCEEDED)),
        Timeout: (_scale_down_timeout, (_P.SCALE_DOWN, _P.SUCCEEDED)),
    },
    _P.ROLLBACK: {
        SurgeRemoved: (_surge_removed, (_P.ROLLBACK, _P.FAILED)),
        NodeReady: (_rollback_ready, (_P.ROLLBACK, _P.FAILED)),
        NodeLost: (_rollback_gone, (_P.ROLLBACK, _P.FAILED)),
        Terminated: (_rollback_gone, (_P.ROLLBACK, _P.FAILED)),
        Timeout: (_rollback_timeout, (_P.FAILED,)),
        DesiredChanged: (_rollback_desired, (_P.ROLLBACK,)),
    },
    _P.SUCCEEDED: {},
    _P.FAILED: {},
}
