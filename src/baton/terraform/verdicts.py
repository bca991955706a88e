"""The gate's findings as text, Markdown for a pull request, JSON and SARIF. Pure: findings in, text out."""

from __future__ import annotations

import json
from typing import Any

from baton.terraform.expected import EXPECTED, NOISE, REFUSE, WARN, Expectation, GateFinding, GateResult

FORMATS = ("text", "markdown", "json", "sarif")
_MARKS = {REFUSE: "REFUSED ", WARN: "warning ", EXPECTED: "expected", NOISE: "noise   "}
_LEVELS = {REFUSE: "error", WARN: "warning", EXPECTED: "note", NOISE: "note"}


def render(result: GateResult, expectation: Expectation, source: str, form: str) -> str:
    """The verdict on the plan in `source` in one of FORMATS; ends with a newline."""
    makers = {"text": _text, "markdown": _markdown, "json": _json, "sarif": _sarif}
    return makers[form](result, expectation, source)


def _headline(result: GateResult, expectation: Expectation) -> str:
    stage = f"{expectation.kind.value} stage" + (f" of cluster {expectation.cluster}" if expectation.cluster else "")
    refused = sum(f.severity == REFUSE for f in result.findings)
    if result.allowed:
        return f"allowed: every change belongs to the {stage}"
    return f"refused: {refused} change{'s' if refused > 1 else ''} not part of the {stage}"


def _text(result: GateResult, expectation: Expectation, source: str) -> str:
    lines = [f"{source}: {_headline(result, expectation)}"]
    for finding in result.findings:
        address = f"{finding.address}: " if finding.address else ""
        lines.append(f"  {_MARKS[finding.severity]}  {address}{finding.message}  [{finding.code}]")
        if finding.hint and finding.severity in (REFUSE, WARN):
            lines.append(f"            hint: {finding.hint}")
    return "\n".join(lines) + "\n"


def _markdown(result: GateResult, expectation: Expectation, source: str) -> str:
    lines = [f"### Baton gate: {_headline(result, expectation)}", ""]
    if result.findings:
        lines += ["| | resource | change | what to do |", "| --- | --- | --- | --- |"]
    for finding in result.findings:
        cells = (
            _MARKS[finding.severity].strip(),
            f"`{finding.address}`" if finding.address else "",
            f"{finding.message} (`{finding.code}`)",
            finding.hint,
        )
        lines.append("| " + " | ".join(c.replace("|", "\\|").replace("\n", " ") for c in cells) + " |")
    return "\n".join([*lines, "", f"Plan: `{source}`", ""])


def _finding(finding: GateFinding) -> dict[str, str]:
    return {
        "code": finding.code,
        "severity": finding.severity,
        "address": finding.address,
        "action": finding.action,
        "attribute": finding.attribute,
        "message": finding.message,
        "hint": finding.hint,
    }


def _json(result: GateResult, expectation: Expectation, source: str) -> str:
    document = {
        "schema": 1,
        "allowed": result.allowed,
        "plan": source,
        "stage": {"kind": expectation.kind.value, "cluster": expectation.cluster},
        "findings": [_finding(f) for f in result.findings],
    }
    return json.dumps(document, indent=2) + "\n"


def _sarif(result: GateResult, expectation: Expectation, source: str) -> str:
    shown = [f for f in result.findings if f.severity in (REFUSE, WARN)]
    rules = [{"id": code} for code in sorted({f.code for f in shown})]
    results: list[dict[str, Any]] = []
    for finding in shown:
        text = finding.message + (f"\n{finding.hint}" if finding.hint else "")
        location: dict[str, Any] = {"physicalLocation": {"artifactLocation": {"uri": source}}}
        if finding.address:
            location["logicalLocations"] = [{"fullyQualifiedName": finding.address, "kind": "resource"}]
            text = f"{finding.address} {text}"
        results.append(
            {
                "ruleId": finding.code,
                "level": _LEVELS[finding.severity],
                "message": {"text": text},
                "locations": [location],
            }
        )
    document = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": {"name": "baton gate", "rules": rules}}, "results": results}],
    }
    return json.dumps(document, indent=2) + "\n"
