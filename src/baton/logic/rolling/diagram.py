"""The machine's Mermaid state diagram, drawn from its tables."""

from __future__ import annotations

import re

from baton.logic.rolling.machine import STEPS, TRANSITIONS
from baton.logic.rolling.values import Phase


def _id(name: str) -> str:
    return name.replace("-", "_")


def _words(event: str) -> str:
    """`NodeReady` -> `node ready`, `Timeout(drain)` -> `timeout (drain)`."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", event).lower()
    return re.sub(r"(?<=\w)\(", " (", spaced)


def diagram() -> str:
    """Mermaid `stateDiagram-v2` text: phases with their events, and the steps of one node inside `upgrade`."""
    lines = ["stateDiagram-v2", f"    [*] --> {_id(Phase.SETUP)}"]
    for phase, events in TRANSITIONS.items():
        by_target: dict[Phase, list[str]] = {}
        for event, (_, targets) in events.items():
            for target in targets:
                by_target.setdefault(target, []).append(_words(event.__name__))
        for target in Phase:
            if target in by_target:
                lines.append(f"    {_id(phase)} --> {_id(target)}: {', '.join(by_target[target])}")
    lines.append(f"    state {_id(Phase.UPGRADE)} {{")
    for step, listed in STEPS.items():
        for event_name, steps in listed.items():
            for target_name in [s.value for s in steps] or ["[*]"]:
                lines.append(f"        {step.value} --> {target_name}: {_words(event_name)}")
    lines.append("    }")
    lines += [f"    {_id(phase)} --> [*]" for phase, events in TRANSITIONS.items() if not events]
    return "\n".join(lines) + "\n"
