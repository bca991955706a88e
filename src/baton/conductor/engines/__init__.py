"""Engines carry out one stage: through Terraform, or through the AWS API directly. The only place that runs programs.

An engine is handed a stage and what the journal wrote of it, and gives back a StageRun that is polled: the conductor
watches the world meanwhile. What an engine may refuse, it refuses in `begin`, before anything has changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from baton.model.plan import Plan, Stage


@dataclass(frozen=True, slots=True)
class Progress:
    """How a stage's act stands: `state` is running, succeeded or failed; `detail` says what is awaited or went wrong.

    `updates` maps `cluster`, `addon/NAME`, `node-group/NAME` to the EKS update id where the engine knows it.
    """

    state: str
    detail: str = ""
    updates: Mapping[str, str] = field(default_factory=dict)


class StageRun(Protocol):
    """A stage under way."""

    def poll(self) -> Progress: ...

    def stop(self) -> None:
        """Let go of what runs here (a child process); never undoes what was done."""
        ...


class Engine(Protocol):
    """`begin` raises RefusedError (nothing changed) or HaltedError (something may have)."""

    name: str

    def intent(self, plan: Plan, stage: Stage) -> Mapping[str, Any]:
        """What the journal must hold before the act: tokens above all."""
        ...

    def begin(self, plan: Plan, stage: Stage, intent: Mapping[str, Any]) -> StageRun: ...

    def final_check(self, plan: Plan) -> str:
        """`no-changes`, or what is left to do; `not-applicable` where the engine has no such notion."""
        ...
