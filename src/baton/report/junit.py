"""The report as JUnit XML: each thing that must hold is a test case, for the test view of a pipeline."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as ET

# XML 1.0 has no way to write these at all.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(tree: Mapping[str, Any]) -> str:
    """One suite per run: stages and verified rows. An unknown verdict is an error, a failed one a failure, a stage that
    was not reached is skipped. A run that changed nothing because it was refused is one failure."""
    cases: list[ET.Element] = []
    failures = errors = skipped = 0
    for stage in tree["stages"]:
        case = _case("stage", f"{stage['ordinal']} {stage['name']}", stage["seconds"])
        if stage["state"] == "not done":
            ET.SubElement(case, "skipped", message="the run did not get there")
            skipped += 1
        elif stage["state"] != "done":
            ET.SubElement(case, "failure", message=_clean(stage["halted"] or stage["state"]))
            failures += 1
        cases.append(case)
    for row in tree["verified"]:
        case = _case("verified", f"{row['name']} {row['subject']}", None)
        if row["verdict"] == "fail":
            ET.SubElement(case, "failure", message=_clean(row["message"]))
            failures += 1
        elif row["verdict"] != "pass":
            ET.SubElement(case, "error", message=_clean(row["message"]))
            errors += 1
        cases.append(case)
    if not failures + errors and tree["outcome"] != "succeeded":
        case = _case("run", str(tree["outcome"]), None)
        ET.SubElement(case, "failure", message=_clean(" ".join(tree["notes"]) or tree["outcome"]))
        failures += 1
        cases.append(case)
    suite = ET.Element(
        "testsuite",
        name=_clean(f"baton {tree['cluster']} {tree['from']} -> {tree['to']}"),
        tests=str(len(cases)),
        failures=str(failures),
        errors=str(errors),
        skipped=str(skipped),
        time=str(tree["seconds"] or 0),
    )
    suite.extend(cases)
    ET.indent(suite)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(suite, encoding="unicode") + "\n"


def _case(kind: str, name: str, seconds: float | None) -> ET.Element:
    return ET.Element("testcase", classname=f"baton.{kind}", name=_clean(name), time=str(seconds or 0))


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", str(text))
