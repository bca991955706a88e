"""What tests of the twin share."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The Bulk of every rehearsal in which there was one; numba is installed."""
    from baton.twin.bulk.bulk import Bulk

    made: list[Any] = []
    begin = Bulk.begin

    def noted(*given: Any) -> Any:
        bulk = begin(*given)
        made.append(bulk)
        return bulk

    monkeypatch.setattr(Bulk, "begin", noted)
    return made
