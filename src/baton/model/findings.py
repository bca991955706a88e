"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Severity(StrEnum):
    """How bad a failing finding is; only `block` stops an upgrade."""

    BLOCK = "block"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    INFO = "info"


class Verdict(StrEnum):
    PASS = "pass"
    FAIL = "fail"
    UNKNOWN = "unknown"  # blocks like a failure of its severity unless waived by code and name
    WAIVED = "waived"


@dataclass(frozen=True, slots=True)
class Finding:
    """`code` is stable (`BTN001`); `subject` names the thing (`node group demo/main`, `pdb shop/cart`)."""

    code: str
    title: str
    severity: Severity
    verdict: Verdict
    subject: str
    message: str
    hint: str = ""
    data: dict[str, object] = field(default_factory=dict)

    @property
    def blocks(self) -> bool:
        return self.severity is Severity.BLOCK and self.verdict in (Verdict.FAIL, Verdict.UNKNOWN)
