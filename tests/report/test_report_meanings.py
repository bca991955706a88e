"""The page about report.json: every member is explained, and nothing that is no member."""

from __future__ import annotations

from pathlib import Path

from baton.report.meanings import MEANINGS, rows
from baton.report.shape import fault_in

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "report.md"


def test_every_member_is_explained() -> None:
    """A reader of report.json would have to guess what a figure means."""
    there = dict(rows())
    assert [p for p, kind in there.items() if kind != "object" and not MEANINGS.get(p)] == []
    assert [p for p in MEANINGS if p not in there] == []
    assert list(MEANINGS) == [p for p in there if p in MEANINGS]  # the page reads in the order of the file


def test_types_are_told_as_the_shape_has_them() -> None:
    """A member that may be null would be taken for one that never is."""
    there = dict(rows())
    assert there["seconds"] == "number or null"
    assert there["nodeGroups[].planned"] == "flag"
    assert there["series.usage.*[]"] == "(number, number, number, number or null)"
    assert fault_in({"seconds": "soon"}, {"seconds": "number?"}) == "seconds is not a number"


def test_the_page_is_linked_and_lists_the_members() -> None:
    """The page would be there and nobody find it."""
    text = PAGE.read_text()
    assert all(f"| `{path}` |" in text for path in MEANINGS)
    readme = (PAGE.parents[2] / "README.md").read_text()
    assert "docs/reference/report.md" in readme
