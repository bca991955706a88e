"""One entry per check: code, title, severity, since and until, needed facts, the pure function. All else derives from
it.

A check yields results for what it looked at; one that yields nothing has found nothing to object to. Its docstring is
what `baton check --explain CODE` prints."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from baton.checks.context import Context
from baton.errors import UsageError
from baton.model.findings import Severity, Verdict

# In the order of reports. To add a check: one decorated function in one of these.
SUBJECTS = (
    "versions",
    "cluster",
    "groups",
    "images",
    "nodes",
    "budgets",
    "workloads",
    "addons",
    "controllers",
    "apis",
    "changes",
    "terraform",
)


@dataclass(frozen=True, slots=True)
class Result:
    """What a check says of one subject. `severity` None means the check's own."""

    verdict: Verdict
    subject: str
    message: str
    hint: str = ""
    severity: Severity | None = None
    data: dict[str, Any] = field(default_factory=dict)


def good(subject: str, message: str, **data: Any) -> Result:
    return Result(Verdict.PASS, subject, message, data=data)


def bad(subject: str, message: str, hint: str = "", severity: Severity | None = None, **data: Any) -> Result:
    return Result(Verdict.FAIL, subject, message, hint, severity, data)


def unknown(subject: str, message: str, hint: str = "", severity: Severity | None = None) -> Result:
    return Result(Verdict.UNKNOWN, subject, message, hint, severity)


CheckFunction = Callable[[Context], Iterable[Result]]


@dataclass(frozen=True, slots=True)
class Check:
    """`needs` names Snapshot fields (`node_groups`, `objects.pods`) or `terraform`; one that could not be read makes
    the verdict unknown. `since`: asked when the target is that version or newer; `until`: when the cluster is older.
    `also` lists where users of other tools know it from. `optional` facts are used where they were read. `passed` is
    said when there is nothing to object to."""

    code: str
    title: str
    severity: Severity
    function: CheckFunction
    subject: str
    passed: str
    needs: tuple[str, ...] = ()
    since: str = ""
    until: str = ""
    also: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()

    @property
    def explanation(self) -> str:
        return inspect.getdoc(self.function) or ""


_REGISTRY: dict[str, Check] = {}


def check(
    code: str,
    title: str,
    severity: Severity,
    passed: str,
    *,
    needs: tuple[str, ...] = (),
    since: str = "",
    until: str = "",
    also: tuple[str, ...] = (),
    optional: tuple[str, ...] = (),
) -> Callable[[CheckFunction], CheckFunction]:
    """Register a check."""

    def register(function: CheckFunction) -> CheckFunction:
        if code in _REGISTRY:
            raise ValueError(f"check {code} is registered twice")
        subject = function.__module__.rpartition(".")[2]
        _REGISTRY[code] = Check(code, title, severity, function, subject, passed, needs, since, until, also, optional)
        return function

    return register


def all_checks() -> tuple[Check, ...]:
    """Every check, by subject and code."""
    for name in SUBJECTS:
        importlib.import_module(f"baton.checks.{name}")
    return tuple(sorted(_REGISTRY.values(), key=lambda c: (SUBJECTS.index(c.subject), c.code)))


def find_check(code: str) -> Check:
    """Raises UsageError for a code that is none (another tool's code is looked up too)."""
    checks = all_checks()
    wanted = code.upper()
    for entry in checks:
        if entry.code == wanted or any(wanted in a.upper().split() for a in entry.also):
            return entry
    raise UsageError(f"there is no check {code}", hint="`baton check --explain all` lists them")


def explain(code: str) -> str:
    """The text of `baton check --explain CODE`; of `all`, a line for each check. Raises UsageError."""
    if code.lower() == "all":
        return "".join(f"{c.code}  {c.severity.value:<6}  {c.title}\n" for c in all_checks())
    entry = find_check(code)
    lines = [f"{entry.code}  {entry.title}", f"severity: {entry.severity.value}", "", entry.explanation, ""]
    if entry.since:
        lines.append(f"asked when the target is {entry.since} or newer")
    if entry.until:
        lines.append(f"asked when the cluster is older than {entry.until}")
    if entry.needs:
        lines.append(f"reads: {', '.join(entry.needs)}")
    if entry.also:
        lines.append(f"known elsewhere as: {', '.join(entry.also)}")
    lines.append(f"waive it with: --waive {entry.code} or --waive '{entry.code}:SUBJECT'")
    return "\n".join(lines) + "\n"


def resources() -> tuple[str, ...]:
    """The Kubernetes resources that the checks read, sorted: what a snapshot should hold."""
    named = {n for c in all_checks() for n in (*c.needs, *c.optional)}
    found = {n.removeprefix("objects.") for n in named if n.startswith("objects.")}
    return tuple(sorted(found))
