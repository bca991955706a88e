"""The report tree: what issue trackers, dashboards and later comparisons read."""

from __future__ import annotations

import json
import math

from report_lab import small


def test_report_tree_has_what_is_promised() -> None:
    """A missing key would break every script that reads report.json."""
    tree = small().tree()
    assert (tree["schema"], tree["engine"], tree["outcome"]) == (1, "aws", "succeeded")
    assert {p["stage"] for p in tree["path"]} == {"control-plane", "addon", "node-group"}
    for row in tree["path"]:
        assert set(row) >= {"stage", "name", "from", "to", "startedAt", "endedAt"}
    group = tree["nodeGroups"][0]
    assert group["nodesReplaced"] == group["desired"] == 3
    assert group["minReady"] >= group["desired"] - group["maxUnavailable"]
    assert (tree["workloads"]["pdbViolations"], tree["workloads"]["lost"]) == (0, 0)


def test_report_tree_is_plain_json() -> None:
    """A value that JSON cannot hold (NaN, a tuple turned list) would change when the file is read again."""
    tree = small().tree()
    assert json.loads(json.dumps(tree, allow_nan=False)) == tree
    assert math.isfinite(tree["seconds"])
