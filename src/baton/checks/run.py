"""Run the checks that apply and turn their results into findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from baton.checks.context import Context
from baton.checks.registry import Check, Result, all_checks, find_check
from baton.knowledge.tables import Knowledge
from baton.model.cluster import Snapshot
from baton.model.findings import Finding, Severity, Verdict
from baton.model.target import ImageFilter, Target
from baton.model.terraform import TerraformFacts
from baton.model.versions import Minor

_ORDER = (Severity.BLOCK, Severity.HIGH, Severity.MEDIUM, Severity.LOW, Severity.INFO)
_GROUPS = {Verdict.FAIL: 0, Verdict.UNKNOWN: 0, Verdict.WAIVED: 1, Verdict.PASS: 2}


@dataclass(frozen=True, slots=True)
class Waiver:
    """Accepts findings of a code, of one subject when it names one."""

    code: str
    subject: str = ""

    @classmethod
    def parse(cls, text: str) -> Waiver:
        """`BTN302` or `BTN302:pdb shop/cart`. Raises UsageError for a code that is none."""
        code, _, subject = text.partition(":")
        return cls(find_check(code.strip()).code, subject.strip())

    def accepted(self, finding: Finding) -> bool:
        """Whether it is this waiver that accepted the finding."""
        return finding.verdict is Verdict.WAIVED and self.covers(finding)

    def covers(self, finding: Finding) -> bool:
        return finding.code == self.code and self.subject in ("", finding.subject)


def run_checks(
    snapshot: Snapshot,
    target: Target,
    knowledge: Knowledge,
    *,
    terraform: TerraformFacts | None = None,
    images: Mapping[str, ImageFilter] | None = None,
    waivers: Sequence[Waiver] = (),
) -> tuple[Finding, ...]:
    """Every finding, passing ones included, the worst first. Today is `snapshot.taken_at`.

    `images` maps node groups to how their Terraform finds its AMI (those of `terraform` are known already). What was
    not read gives an unknown verdict, which blocks like a failure. Raises UsageError when the target is no version.
    """
    context = Context(snapshot, target, knowledge, terraform, images)
    findings = [f for entry in all_checks() if applies(entry, context) for f in run_one(entry, context)]
    return tuple(sorted((_waived(f, waivers) for f in findings), key=_rank))


def applies(entry: Check, context: Context) -> bool:
    """Whether a check is asked for this path."""
    if entry.since and context.end < Minor.parse(entry.since):
        return False
    if entry.until and context.start >= Minor.parse(entry.until):
        return False
    return "terraform" not in entry.needs or context.terraform is not None


def run_one(entry: Check, context: Context) -> list[Finding]:
    """The findings of one check; one that passes when it has nothing to say."""
    missing = [f"{what}: {why}" for what in entry.needs if (why := _not_read(what, context))]
    if missing:
        hint = "let Baton read it, or waive the check"
        result = Result(Verdict.UNKNOWN, context.cluster, f"could not be read: {'; '.join(missing)}", hint)
        return [_finding(entry, result)]
    results = list(entry.function(context))
    return [_finding(entry, r) for r in results or [Result(Verdict.PASS, context.cluster, entry.passed)]]


def _not_read(what: str, context: Context) -> str:
    """Why a needed fact is not there; "" when it is."""
    snapshot = context.snapshot
    unknown = snapshot.unknown(what) or (snapshot.unknown("objects") if what.startswith("objects.") else None)
    if unknown is not None:
        return unknown.reason
    if what.startswith("objects.") and what.removeprefix("objects.") not in snapshot.objects:
        return "not in the snapshot"
    return ""


def _finding(entry: Check, result: Result) -> Finding:
    return Finding(
        entry.code,
        entry.title,
        result.severity or entry.severity,
        result.verdict,
        result.subject,
        result.message,
        result.hint,
        dict(result.data),
    )


def _waived(finding: Finding, waivers: Sequence[Waiver]) -> Finding:
    if finding.verdict not in (Verdict.FAIL, Verdict.UNKNOWN) or not any(w.covers(finding) for w in waivers):
        return finding
    return replace(finding, verdict=Verdict.WAIVED, data={**finding.data, "waivedFrom": finding.verdict.value})


def _rank(finding: Finding) -> tuple[int, int, str, str]:
    return (_GROUPS[finding.verdict], _ORDER.index(finding.severity), finding.code, finding.subject)


def unused(waivers: Sequence[Waiver], findings: Sequence[Finding]) -> tuple[Waiver, ...]:
    """Waivers that waived nothing: mistyped, or no longer needed."""
    waived = [f for f in findings if f.verdict is Verdict.WAIVED]
    return tuple(w for w in waivers if not any(w.covers(f) for f in waived))
