"""One emulator for all tests of a session that talk to a served cluster; they keep to namespaces of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kube_served import Served


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("served"))
    made.pace(40)
    yield made
    made.stop()
