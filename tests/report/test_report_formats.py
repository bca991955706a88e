"""HTML, Markdown and JUnit: drawn from the tree alone, and nothing in them can break out."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from report_lab import small, stuck

from baton.errors import ReadError
from baton.report import html, junit, markdown
from baton.report.files import write_report
from baton.report.words import duration, summary

NASTY = '</script><script>alert(1)</script>"><img src=x onerror=alert(2)>|`*[x](javascript:1)'
VOID = {"meta", "br", "img", "link", "hr", "input"}


class Page(HTMLParser):
    """Collects tags and attributes; complains about tags that are not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def parsed(text: str) -> Page:
    page = Page()
    page.feed(text)
    page.close()
    assert page.open == []
    return page


def poisoned(value: Any) -> Any:
    """The tree with a nasty string in place of every one that comes from outside."""
    if isinstance(value, dict):
        return {
            k: v if k in ("startedAt", "endedAt", "since", "until", "state") else poisoned(v) for k, v in value.items()
        }
    if isinstance(value, list):
        return [poisoned(v) for v in value]
    return NASTY if isinstance(value, str) else value


def with_times(tree: dict[str, Any]) -> dict[str, Any]:
    stages = [{"ordinal": s["ordinal"], "name": s["name"], "seconds": 600.0} for s in tree["stages"]]
    return {**tree, "rehearsal": {"predictedSeconds": 1800.0, "actualSeconds": 1900.0, "stages": stages}}


def test_report_html_is_one_file_that_asks_for_nothing() -> None:
    """Reports are mailed and opened behind firewalls: an outside request would break or tell on them."""
    text = html.render(with_times(small().tree()))
    page = parsed(text)
    assert not {"link", "img", "iframe", "object"} & set(page.tags)
    assert not [a for a in page.attributes if a[0] in ("src", "href", "srcset", "action")]
    assert not re.search(r"@import|url\((?!#)|https?://", text)


def test_report_html_shows_the_run() -> None:
    """Somebody who was not there must find the nodes, the line that must hold, the pods and the stages."""
    tree = with_times(small().tree())
    text = html.render(tree)
    for name in ("ip-10-1-1-4", "must stay up: 2", "Pods on their way", "Requested of what apps-a can give"):
        assert name in text
    assert text.count('class="draining"') >= 3
    assert 'class="rehearsed"' in text
    assert all(v["message"] in text for v in tree["verified"])


def test_report_html_shows_a_halt_and_its_cause() -> None:
    """The first screen of a halted run must say so, where, why, and what holds it."""
    text = html.render(stuck().tree())
    assert "Halted half-way" in text and "PodEvictionFailure" in text
    assert 'class="halted"' in text and 'class="blocked"' in text
    assert "Not done: node group apps-a to 1.35" in text
    assert "let the budget allow one disruption" in text


def test_report_html_escapes_everything() -> None:
    """Pod names, event texts and diffs come from the cluster: none may become markup or script."""
    tree = with_times(stuck().tree())
    plain, nasty = parsed(html.render(tree)), parsed(html.render(poisoned(tree)))
    assert plain.tags.count("script") == nasty.tags.count("script") == 2
    assert "img" not in nasty.tags
    assert not [name for name, _ in nasty.attributes if name.startswith("on")]


def test_report_html_readings_can_be_read_back() -> None:
    """The data under the pointer must be the series, whatever the groups are called."""
    tree = stuck().tree()
    tree["series"]["groups"] = {NASTY: tree["series"]["groups"]["apps-a"]}
    text = html.render(tree)
    inside = text.split('id="readings">')[1].split("</script>")[0]
    assert json.loads(inside)["groups"][NASTY][0][1] == 3


def test_report_html_of_nothing_observed() -> None:
    """A run that was refused before it began still has a report."""
    run = small()
    tree = run.tree(records=(), timeline=(), after=None, verified=(), outcome="refused", notes=["busy"])
    text = html.render(tree)
    parsed(text)
    assert "Nothing was observed" in text and "Refused, nothing changed" in text and "busy" in text


def test_report_html_old_nodes_first_then_new_as_they_came() -> None:
    """Lanes in any other order hide the pattern of a roll; a node that was Ready at the first look came as well."""
    tree = small().tree()
    lane = next(n for n in tree["series"]["nodes"] if n["generation"] == "new")
    lane["spans"] = [[s, a + 1, b] for s, a, b in lane["spans"] if s != "joining"]
    names = re.findall(r'text-anchor="end" y="[0-9.]+">(ip-[0-9-]+) [abc]<', html.render(tree))
    lanes = {n["name"].partition(".")[0]: n for n in tree["series"]["nodes"]}
    assert [lanes[n]["generation"] for n in names] == ["old"] * 3 + ["new"] * (len(lanes) - 3)
    came = [lanes[n]["spans"][0][1] for n in names[3:]]
    assert came == sorted(came)


def test_report_html_shows_when_nobody_looked() -> None:
    """A run that was killed and continued has a gap; drawing it as if it had been watched would be a lie."""
    run = small()
    start = run.records[0].started_at
    tree = run.tree(view=replace(run.view, unwatched=((start + 60.0, start + 360.0),)))
    text = html.render(tree)
    assert 'class="unwatched"' in text and "Baton did not run for 5 min" in text
    assert any("Baton did not run" in u for u in tree["unknown"])
    assert 'class="unwatched"' not in html.render(small().tree())


def test_report_html_hundreds_of_nodes_are_aggregated() -> None:
    """A lane for each of 600 nodes would be a wall of lines and a file that opens slowly."""
    tree = small().tree()
    lanes = [{**n, "name": f"{n['name']}-{i}"} for i in range(50) for n in tree["series"]["nodes"]]
    tree["series"]["nodes"] = lanes
    text = html.render(tree)
    assert f"{len(lanes)} in all" in text
    assert "<polygon" in text and text.count("<rect") < 50


def test_report_html_stays_small_and_keeps_its_peaks() -> None:
    """A week of events must not make a page too heavy to open, and the one bad minute in it must be seen."""
    tree = small().tree()
    whole = tree["series"]["seconds"]
    tree["series"]["pods"] = [[whole * i / 100_000, 40 if i == 61_234 else i % 2, 0, 0] for i in range(100_000)]
    text = html.render(tree)
    assert len(text) < 300_000
    assert ">40<" in text
    polygon = re.search(r'<polygon class="pending" points="([^"]+)"', text)
    assert polygon is not None
    heights = [float(p.partition(",")[2]) for p in polygon[1].split()]
    assert max(heights) - min(heights) == 64.0


def test_report_html_same_tree_same_page() -> None:
    """Pages that differ without cause cannot be compared."""
    assert html.render(small().tree()) == html.render(small().tree())


def test_report_html_from_the_file_is_the_same() -> None:
    """`baton report --format html` renders report.json: it must show what was shown after the run."""
    tree = stuck().tree()
    assert html.render(json.loads(json.dumps(tree))) == html.render(tree)


def test_report_markdown_holds_its_tables_and_fences() -> None:
    """A bar, a backtick or a tag from the cluster must not break a pull request's page."""
    tree = poisoned(stuck().tree())
    tree["stages"][0]["diff"] = "-a\n```\n+b\n"
    text = markdown.render(tree)
    outside = re.sub(r"^(`{3,})diff\n.*?^\1$", "", text, flags=re.DOTALL | re.MULTILINE)
    assert "diff" not in outside and "<script" not in outside and "<img" not in outside
    assert "````diff\n-a\n```\n+b\n````" in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    head = next(line for line in rows if line.startswith("| what | reason"))
    cells = len(re.findall(r"(?<!\\)\|", head))
    body = rows[rows.index(head) + 2 :]
    assert body and all(len(re.findall(r"(?<!\\)\|", line)) == cells for line in body[: len(tree["blockers"]) - 1])


def test_report_markdown_says_unknown() -> None:
    """`None` in a table would be read as a value."""
    run = small()
    tree = run.tree(timeline=(), after=None, verified=(), outcome="halted")
    tree["nodeGroups"][0] |= {"minReady": None, "amiAfter": None}
    text = markdown.render(tree)
    assert "None" not in text and "-> ?" in text and "## Not known" in text


def test_report_junit_of_a_good_run_is_green() -> None:
    """A pipeline must pass when everything was verified."""
    suite = ET.fromstring(junit.render(small().tree()))
    assert (suite.get("failures"), suite.get("errors")) == ("0", "0")
    assert int(suite.get("tests", 0)) == len(suite.findall("testcase")) >= 10


def test_report_junit_of_a_halt_fails_and_skips() -> None:
    """A pipeline must fail on the stage that halted; those that were not reached did not fail themselves."""
    tree = stuck().tree()
    tree["stages"].append({**tree["stages"][-1], "ordinal": 9, "name": "later", "state": "not done", "halted": None})
    suite = ET.fromstring(junit.render(tree))
    assert (suite.get("failures"), suite.get("skipped")) == ("1", "1")
    failure = suite.find("testcase/failure")
    assert failure is not None and "PodEvictionFailure" in failure.get("message", "")


def test_report_junit_unknown_is_no_pass_and_odd_characters_are_no_crash() -> None:
    """Unknown must not turn a pipeline green, nor a control character in a message make the XML unreadable."""
    tree = small().tree()
    tree["verified"] = [{"name": "pods", "subject": "all", "verdict": "unknown", "message": "\x00\x1b[31m & <b>"}]
    suite = ET.fromstring(junit.render(tree))
    assert (suite.get("errors"), suite.get("failures")) == ("1", "0")


def test_report_junit_refused_run_is_red() -> None:
    """A run that was refused before its first stage has no failing stage, and must fail all the same."""
    tree = small().tree(records=(), timeline=(), after=None, verified=(), outcome="refused", notes=["busy"])
    suite = ET.fromstring(junit.render(tree))
    assert suite.get("failures") == "1"


def test_report_files_are_whole(tmp_path: Path) -> None:
    """A reader that looks while a report is written must find the old or the new one, never half of it."""
    run = small()
    write_report(tmp_path, run.tree(outcome="halted"), run.observer.timeline[:3])
    files = write_report(tmp_path, run.tree(), run.observer.timeline)
    assert sorted(f.name for f in tmp_path.iterdir()) == sorted(f.name for f in files)
    assert json.loads((tmp_path / "report.json").read_text())["outcome"] == "succeeded"
    events = [json.loads(line) for line in (tmp_path / "timeline.jsonl").read_text().splitlines()]
    assert len(events) == len(run.observer.timeline)
    assert set(events[0]) == {"at", "kind", "subject", "source", "data"}


def test_report_files_say_where_they_cannot_be_written(tmp_path: Path) -> None:
    """A full disk or a wrong path at the end of an upgrade must be told, not thrown as a traceback."""
    (tmp_path / "there").write_text("a file")
    with pytest.raises(ReadError) as caught:
        write_report(tmp_path / "there", small().tree(), ())
    assert "there" in caught.value.where and caught.value.hint


def test_report_words_say_the_run_in_a_sentence() -> None:
    """The sentence is what gets pasted into a chat: it must be true of good and of bad runs."""
    assert "3 nodes replaced in 1 node group" in summary(small().tree())[0]
    assert any("Halted in stage 4" in s for s in summary(stuck().tree()))
    tree = small().tree()
    tree["workloads"] |= {"pdbViolations": 2, "lost": 1}
    tree["nodeGroups"][0]["minReady"] = 1
    first = summary(tree)[0]
    assert "2 disruption budgets broken" in first and "1 pod or workload lost" in first
    assert "too few nodes ready in apps-a" in first


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "-"), (0, "0 s"), (89.6, "90 s"), (91, "2 min"), (3599, "1 h 00 min"), (7500, "2 h 05 min")],
)
def test_report_words_durations(seconds: float | None, words: str) -> None:
    """`60 min` beside `1 h 00 min` would look like two different times."""
    assert duration(seconds) == words
