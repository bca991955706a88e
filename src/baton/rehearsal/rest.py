"""Time that passes while EKS is at work: the conductor looks again when there is something to see."""

from __future__ import annotations

from baton.model.events import Event
from baton.twin.twin import Twin

MOST_LOOKS = 720
"""It looks at the latest after so many times of its own pace."""


class Rest:
    """Sleeps as long as the conductor's looks would tell it nothing: it wakes at the first of the moments at which it
    would have looked, once an update has ended. A rehearsal's watch is empty, so that updates are all it sees."""

    def __init__(self, twin: Twin) -> None:
        self._clock = twin.clock
        self._pace = 0.0
        self._look = 0.0
        self._asleep = False
        # describing an update may start an upgrade of its own where clusters are upgraded at the end of their support
        self._looks_matter = twin.cloud.settings.switches.auto_upgrade
        twin.cloud.on_event(self._ended, {"update.ended"})

    def __call__(self, seconds: float) -> None:
        """Let `seconds` pass, and as many more times `seconds` as nothing is to be seen."""
        if self._looks_matter or seconds <= 0:
            self._clock.sleep(seconds)
            return
        self._pace, self._asleep = seconds, True
        last = self._look = self._clock.now() + seconds
        for _ in range(MOST_LOOKS - 1):
            last += seconds
        self._clock.run_until(last)
        self._asleep = False

    def _ended(self, event: Event) -> None:
        if not self._asleep:
            return
        look = self._look
        while look < event.at:
            look += self._pace  # added up as single looks would be: the same moments to the last digit
        self._clock.cut(look)
