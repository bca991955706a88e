"""matchLabelKeys and mismatchLabelKeys of affinity reach the selectors of pods, as the API server does it."""

from __future__ import annotations

from typing import Any

from kube_lab import Lab

from baton.twin.controllers.labelkeys import merge_label_keys

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def term(**fields: Any) -> dict[str, Any]:
    """An affinity term per host for app=web."""
    return {"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "kubernetes.io/hostname", **fields}


def test_keys_become_requirements_after_those_given() -> None:
    """A pod would else avoid the pods of its app's earlier revisions too, and find no node during a roll-out."""
    given = term(matchLabelKeys=["rev", "absent"], mismatchLabelKeys=["tenant"])
    spec = {"affinity": {"podAntiAffinity": {REQUIRED: [given], PREFERRED: [{"weight": 3, "podAffinityTerm": given}]}}}
    merged = merge_label_keys(spec, {"rev": "2", "tenant": "a"})["affinity"]["podAntiAffinity"]
    expected = [
        {"key": "rev", "operator": "In", "values": ["2"]},
        {"key": "tenant", "operator": "NotIn", "values": ["a"]},
    ]
    assert merged[REQUIRED][0]["labelSelector"] == {"matchLabels": {"app": "web"}, "matchExpressions": expected}
    assert merged[PREFERRED][0]["podAffinityTerm"]["labelSelector"]["matchExpressions"] == expected
    assert "matchExpressions" not in given["labelSelector"]


def test_nothing_to_merge_keeps_the_spec() -> None:
    """A copied spec per pod would cost memory at 150,000 pods; a term without a selector selects nothing."""
    for one in (term(), term(matchLabelKeys=["absent"]), {"topologyKey": "zone", "matchLabelKeys": ["rev"]}):
        spec = {"affinity": {"podAffinity": {REQUIRED: [one]}}}
        assert merge_label_keys(spec, {"rev": "2"}) is spec
    assert merge_label_keys({"containers": []}, {}) == {"containers": []}


def test_a_new_revision_shares_nodes_with_the_old_one() -> None:
    """With one host per revision, a roll-out on as many nodes as replicas must not wait for ever."""
    lab = Lab(nodes=2)
    template = lab.template("web", delay=1)
    rule = term(matchLabelKeys=["pod-template-hash"])
    template["spec"]["affinity"] = {"podAntiAffinity": {REQUIRED: [rule]}}
    surge = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 2, "maxUnavailable": 0}}
    lab.deployment("web", 2, template, strategy=surge)
    lab.wait(60)
    assert lab.ready("web") == 2
    newer = {**template, "metadata": {**template["metadata"], "annotations": {"revision": "2"}}}
    lab.change("deployments.apps", "web", {"template": newer})
    lab.wait(120)
    assert lab.ready("web") == 2
    assert all((p["metadata"].get("annotations") or {}).get("revision") == "2" for p in lab.pods("web"))
