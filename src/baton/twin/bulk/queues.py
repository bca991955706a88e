"""Chance and the three queues of the compiled part: timers, syncs of controllers, pods that wait for a node."""

from __future__ import annotations

from typing import Any

import numpy as np

from baton.logic.scheduling.accelerate import jit
from baton.twin.bulk.layout import (
    B_PENDING,
    BIG,
    BUDGET,
    DUE,
    F_NEXT_TIME,
    F_NOW,
    F_OTHER_QUEUED,
    F_QUEUE_TIME,
    F_SCHEDULER_TIME,
    G_PENDING,
    GROUP,
    IDLE,
    S_KUBELET_DRAW,
    S_MARGIN,
    S_NAME_DRAW,
    S_NEXT_PRIORITY,
    S_NEXT_SERIAL,
    S_NOTES,
    S_OTHER_PRIORITY,
    S_OTHER_SERIAL,
    S_PODS,
    S_QUEUE_ARMED,
    S_QUEUE_AT,
    S_QUEUE_LENGTH,
    S_QUEUE_SERIAL,
    S_SCHEDULER_ARMED,
    S_SCHEDULER_DRAW,
    S_SCHEDULER_SERIAL,
    S_SERIAL,
    S_STAMP,
    S_TIMERS,
    S_TRACKED,
    S_WAITING,
)
from baton.twin.bulk.views import (
    budgets_of,
    groups_of,
    kubelet_draws_of,
    name_draws_of,
    notes_of,
    pods_of,
    queue_of,
    scalars_of,
    scheduler_draws_of,
    seconds_of,
    timer_times_of,
    timers_of,
    tracks_of,
    waiting_of,
    waiting_since_of,
)


@jit
def rounded(value: float) -> float:
    """round(value, 3) as Python rounds: by the exact value, ties to even."""
    scaled = value * 1000.0
    low = np.floor(scaled)
    over = scaled - low - 0.5
    if abs(over) < 1e-6:
        # the product was rounded itself: add what was lost, by Dekker's split
        split = 134217729.0 * value
        high = split - (split - value)
        over += (high * 1000.0 - scaled) + (value - high) * 1000.0
        if over == 0.0:
            return float(low if low % 2.0 == 0.0 else low + 1.0) / 1000.0
    return float(low + 1.0 if over > 0.0 else low) / 1000.0


@jit
def draw(a: Any, low: float, mode: float, high: float) -> Any:
    """Spread.draw with the kubelets' generator."""
    if low == high:
        return low
    u = kubelet_draws_of(a)[scalars_of(a)[S_KUBELET_DRAW]]
    scalars_of(a)[S_KUBELET_DRAW] += 1
    span = high - low
    if u < (mode - low) / span:
        value = low + np.sqrt(u * span * (mode - low))
    else:
        value = high - np.sqrt((1.0 - u) * span * (high - mode))
    return rounded(value)


@jit
def post(a: Any, delay: float, kind: int, pod: int) -> None:
    """VirtualClock.post of a timer."""
    s = scalars_of(a)
    s[S_SERIAL] += 1
    time = seconds_of(a)[F_NOW] + delay if delay > 0.0 else seconds_of(a)[F_NOW]
    at = s[S_TIMERS]
    s[S_TIMERS] += 1
    times, timers = timer_times_of(a), timers_of(a)
    serial = s[S_SERIAL]
    while at > 0:
        above = (at - 1) >> 1
        if times[above] <= time:  # an equal one was there before
            break
        times[at] = times[above]
        timers[at, 0], timers[at, 1], timers[at, 2] = timers[above, 0], timers[above, 1], timers[above, 2]
        at = above
    times[at] = time
    timers[at, 0], timers[at, 1], timers[at, 2] = serial, kind, pod


@jit
def _before(times: Any, timers: Any, one: int, other: int) -> bool:
    return bool(times[one] < times[other] or (times[one] == times[other] and timers[one, 0] < timers[other, 0]))


@jit
def pop_timer(a: Any) -> None:
    """Take the first of the heap away."""
    s, times, timers = scalars_of(a), timer_times_of(a), timers_of(a)
    s[S_TIMERS] -= 1
    count = s[S_TIMERS]
    if count == 0:
        return
    time, serial, kind, pod = times[count], timers[count, 0], timers[count, 1], timers[count, 2]
    at = 0
    while True:
        below = 2 * at + 1
        if below >= count:
            break
        if below + 1 < count and _before(times, timers, below + 1, below):
            below += 1
        if time < times[below] or (time == times[below] and serial < timers[below, 0]):
            break
        times[at] = times[below]
        timers[at, 0], timers[at, 1], timers[at, 2] = timers[below, 0], timers[below, 1], timers[below, 2]
        at = below
    times[at] = time
    timers[at, 0], timers[at, 1], timers[at, 2] = serial, kind, pod


@jit
def note(a: Any, kind: int, one: int, other: int) -> None:
    """Something that Python has to be told before anything else happens."""
    at = scalars_of(a)[S_NOTES]
    scalars_of(a)[S_NOTES] += 1
    notes_of(a)[at, 0], notes_of(a)[at, 1], notes_of(a)[at, 2] = kind, one, other


@jit
def arm_work(a: Any) -> None:
    """WorkQueue.add posts its run when nobody has."""
    s = scalars_of(a)
    if s[S_QUEUE_ARMED] == IDLE:
        s[S_QUEUE_ARMED] = DUE
        s[S_SERIAL] += 1
        s[S_QUEUE_SERIAL] = s[S_SERIAL]
        seconds_of(a)[F_QUEUE_TIME] = seconds_of(a)[F_NOW]


@jit
def push_work(a: Any, kind: int, subject: int) -> None:
    s = scalars_of(a)
    at = (s[S_QUEUE_AT] + s[S_QUEUE_LENGTH]) % queue_of(a).shape[0]
    s[S_QUEUE_LENGTH] += 1
    s[S_STAMP] += 1
    queue_of(a)[at, 0], queue_of(a)[at, 1], queue_of(a)[at, 2] = s[S_STAMP], kind, subject
    arm_work(a)


@jit
def enqueue_group(a: Any, group: int) -> None:
    if groups_of(a)[group, G_PENDING] == 0:
        groups_of(a)[group, G_PENDING] = 1
        push_work(a, GROUP, group)


@jit
def enqueue_budget(a: Any, budget: int) -> None:
    if budgets_of(a)[budget, B_PENDING] == 0:
        budgets_of(a)[budget, B_PENDING] = 1
        push_work(a, BUDGET, budget)


@jit
def _sooner(a: Any, one: int, other: int) -> bool:
    w, q = waiting_of(a), waiting_since_of(a)
    if w[one, 0] != w[other, 0]:
        return bool(w[one, 0] < w[other, 0])
    if q[one] != q[other]:
        return bool(q[one] < q[other])
    return bool(w[one, 1] < w[other, 1])


@jit
def _swap(a: Any, one: int, other: int) -> None:
    w, q = waiting_of(a), waiting_since_of(a)
    q[one], q[other] = q[other], q[one]
    for i in range(3):
        w[one, i], w[other, i] = w[other, i], w[one, i]


@jit
def push_waiting(a: Any, priority: int, queued: float, serial: int, pod: int) -> None:
    """SchedulingLoop._activate."""
    s = scalars_of(a)
    at = s[S_WAITING]
    s[S_WAITING] += 1
    waiting_of(a)[at, 0], waiting_of(a)[at, 1], waiting_of(a)[at, 2] = priority, serial, pod
    waiting_since_of(a)[at] = queued
    while at > 0:
        above = (at - 1) >> 1
        if not _sooner(a, at, above):
            break
        _swap(a, at, above)
        at = above
    _arm_scheduler(a)


@jit
def _arm_scheduler(a: Any) -> None:
    s = scalars_of(a)
    if s[S_SCHEDULER_ARMED] == IDLE:
        s[S_SCHEDULER_ARMED] = DUE
        s[S_SERIAL] += 1
        s[S_SCHEDULER_SERIAL] = s[S_SERIAL]
        seconds_of(a)[F_SCHEDULER_TIME] = seconds_of(a)[F_NOW]


@jit
def pop_waiting(a: Any) -> None:
    s = scalars_of(a)
    s[S_WAITING] -= 1
    count = s[S_WAITING]
    _swap(a, 0, count)
    at = 0
    while True:
        below = 2 * at + 1
        if below >= count:
            return
        if below + 1 < count and _sooner(a, below + 1, below):
            below += 1
        if not _sooner(a, below, at):
            return
        _swap(a, at, below)
        at = below


@jit
def other_waits_first(a: Any) -> bool:
    s = scalars_of(a)
    if s[S_OTHER_SERIAL] == BIG:
        return False
    if s[S_WAITING] == 0:
        return True
    if s[S_OTHER_PRIORITY] != waiting_of(a)[0, 0]:
        return bool(s[S_OTHER_PRIORITY] < waiting_of(a)[0, 0])
    if seconds_of(a)[F_OTHER_QUEUED] != waiting_since_of(a)[0]:
        return bool(seconds_of(a)[F_OTHER_QUEUED] < waiting_since_of(a)[0])
    return bool(s[S_OTHER_SERIAL] < waiting_of(a)[0, 1])


@jit
def roomy(a: Any) -> bool:
    """Whether the arrays hold whatever one step may add."""
    s = scalars_of(a)
    margin = s[S_MARGIN]
    return bool(
        s[S_PODS] + margin < pods_of(a).shape[0]
        and s[S_TIMERS] + margin < timer_times_of(a).shape[0]
        and s[S_WAITING] + margin < waiting_of(a).shape[0]
        and s[S_KUBELET_DRAW] + 16 * margin < kubelet_draws_of(a).shape[0]
        and s[S_NAME_DRAW] + 4 * margin < name_draws_of(a).shape[0]
        and s[S_SCHEDULER_DRAW] + 16 < scheduler_draws_of(a).shape[0]
        and s[S_TRACKED] + 4 * margin < tracks_of(a).shape[0]
    )


@jit
def earlier(time: float, priority: int, serial: int, other: float, other_priority: int, other_serial: int) -> bool:
    if time != other:
        return time < other
    if priority != other_priority:
        return priority < other_priority
    return serial < other_serial


@jit
def note_next(a: Any) -> int:
    """Which is first: 0 nothing, 1 a timer, 2 the work queue, 3 the scheduler; its time, priority and serial noted."""
    s, f = scalars_of(a), seconds_of(a)
    first = 0
    time, priority, serial = np.inf, 0, 0
    if s[S_TIMERS] > 0:
        first = 1
        time, serial = timer_times_of(a)[0], timers_of(a)[0, 0]
    if s[S_QUEUE_ARMED] == DUE and earlier(f[F_QUEUE_TIME], 2, s[S_QUEUE_SERIAL], time, priority, serial):
        first = 2
        time, priority, serial = f[F_QUEUE_TIME], 2, s[S_QUEUE_SERIAL]
    if s[S_SCHEDULER_ARMED] == DUE and earlier(f[F_SCHEDULER_TIME], 4, s[S_SCHEDULER_SERIAL], time, priority, serial):
        first = 3
        time, priority, serial = f[F_SCHEDULER_TIME], 4, s[S_SCHEDULER_SERIAL]
    f[F_NEXT_TIME], s[S_NEXT_PRIORITY], s[S_NEXT_SERIAL] = time, priority, serial
    return first
