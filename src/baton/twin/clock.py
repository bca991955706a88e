"""The twin's time: a heap of (time, priority, serial, callback), and a subclass that keeps pace with a wall clock.

The shape is SimPy's event heap and its small real-time subclass. Nothing here reads a clock: the paced one is handed
a function that does.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any


class Handle:
    """A scheduled call; `cancelled` ones are skipped when their time comes."""

    __slots__ = ("cancelled", "fn", "time")

    def __init__(self, time: float, fn: Callable[[], object]) -> None:
        self.time = time
        self.fn = fn
        self.cancelled = False


class VirtualClock:
    """Cluster time that moves only when something is due. Implements the Clock port.

    Calls due at the same time run by priority (low first), then in the order they were made: the same program gives
    the same order, always.
    """

    def __init__(self, start: float = 0.0) -> None:
        self._now = start
        self._serial = 0
        self._heap: list[tuple[float, int, int, Handle | Callable[[], object]]] = []
        self.processed = 0
        self._until = start
        self.bulk: Any = None
        """Whoever runs events of its own between these, see twin/bulk."""

    def now(self) -> float:
        return self._now

    def call_at(self, time: float, fn: Callable[[], object], priority: int = 0) -> Handle:
        """Run `fn()` at `time`, or as soon as possible when that is past."""
        handle = Handle(max(time, self._now), fn)
        self._serial += 1
        heapq.heappush(self._heap, (handle.time, priority, self._serial, handle))
        return handle

    def call_later(self, delay: float, fn: Callable[[], object], priority: int = 0) -> Handle:
        return self.call_at(self._now + delay, fn, priority)

    def post(self, delay: float, fn: Callable[[], object], priority: int = 0) -> None:
        """As call_later, for a call that nobody will cancel."""
        self._serial += 1
        now = self._now
        heapq.heappush(self._heap, (now + delay if delay > 0.0 else now, priority, self._serial, fn))

    @staticmethod
    def cancel(handle: Handle) -> None:
        handle.cancelled = True

    def next_time(self) -> float | None:
        """When the next call is due, None when there is none."""
        heap = self._heap
        while heap:
            first = heap[0][3]
            if not isinstance(first, Handle) or not first.cancelled:
                return heap[0][0]
            heapq.heappop(heap)
        return None

    def first(self) -> tuple[float, int, int] | None:
        """(time, priority, serial) of the next call, None when there is none."""
        return None if self.next_time() is None else self._heap[0][:3]

    def run_next(self) -> bool:
        """Run the next due call, moving time to it. False when nothing is left."""
        due = self.next_time()
        if due is None:
            return False
        self._run_one()
        return True

    def _run_one(self) -> None:
        """The first of the heap, which is not cancelled."""
        time, _, _, call = heapq.heappop(self._heap)
        self._now = time
        self.processed += 1
        if isinstance(call, Handle):
            call.fn()
        else:
            call()

    def run_until(self, time: float) -> None:
        """Run everything due up to and including `time`, or the time it was cut to, then stand there."""
        self._until = time
        if self.bulk is not None:
            self.bulk.run_until()
            return
        heap, pop = self._heap, heapq.heappop
        while heap and heap[0][0] <= self._until:
            now, _, _, call = pop(heap)
            if type(call) is Handle:
                if call.cancelled:
                    continue
                call = call.fn
            self._now = now
            self.processed += 1
            call()  # type: ignore[operator]
            if self.bulk is not None:  # it began just now
                self.bulk.run_until()
                return
        self._now = max(self._now, self._until)

    def cut(self, time: float) -> None:
        """Let the `run_until` under way end at `time`, where that is sooner: there is news that somebody awaits."""
        self._until = min(self._until, time)

    def sleep(self, seconds: float) -> None:
        """Let cluster time pass; what is due meanwhile happens."""
        self.run_until(self._now + max(0.0, seconds))


class PacedClock(VirtualClock):
    """A virtual clock that follows `wall()` (seconds, monotonic) `speed` times faster. For the emulator.

    The event loop calls `catch_up()` whenever it wakes and may sleep `wall_delay()` seconds till the next call is due.
    """

    def __init__(self, start: float, speed: float, wall: Callable[[], float]) -> None:
        super().__init__(start)
        self.speed = speed
        self._wall = wall
        self._wall_start = wall()
        self._start = start

    def rebase(self) -> None:
        """Keep pace from where the clock stands now, whatever the wall clock did meanwhile."""
        self._wall_start = self._wall()
        self._start = self._now

    def target(self) -> float:
        """Where cluster time should stand by the wall clock."""
        return self._start + (self._wall() - self._wall_start) * self.speed

    def now(self) -> float:
        return self._now

    def catch_up(self) -> None:
        """Run everything that is due by now."""
        self.run_until(self.target())

    def wall_delay(self) -> float | None:
        """Seconds of wall time till the next call is due; None when nothing is scheduled."""
        due = self.next_time()
        return None if due is None else max(0.0, (due - self.target()) / self.speed)
