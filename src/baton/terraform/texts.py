"""Words for people: what an inspection found, the commit and pull request of a stage."""

from __future__ import annotations

from baton.model.plan import Plan, Stage
from baton.terraform.edit import shared_files
from baton.terraform.inspection import AddonConfig, ClusterConfig, GroupConfig, Inspection, Traced


def describe(inspection: Inspection) -> str:
    """The inspection as text; ends with a newline."""
    lines: list[str] = []
    for cluster in inspection.clusters:
        lines += [*_cluster(cluster), ""]
    if not inspection.clusters:
        lines += [f"no EKS cluster in {inspection.root}", ""]
    if inspection.unresolved:
        lines.append("not resolved:")
        for item in inspection.unresolved:
            at = f"{item.where}: " if item.where else ""
            lines.append(f"  {item.what}\n    {at}{item.why}")
    return "\n".join(lines).rstrip() + "\n"


def _cluster(cluster: ClusterConfig) -> list[str]:
    lines = [f"cluster {cluster.name.value or '(name not known)'}  {cluster.address}"]
    lines.append(f"  version     {_value(cluster.version)}")
    if cluster.source:
        lines.append(f"  module      {cluster.source} {cluster.module_version}".rstrip())
    lines += [f"  add-on      {addon.name:<24} {_addon(addon)}" for addon in cluster.addons]
    for group in cluster.node_groups:
        lines += _group(group)
    return lines + [f"  note        {note}" for note in cluster.notes]


def _addon(addon: AddonConfig) -> str:
    if addon.follows:
        return f"follows the cluster ({'newest' if addon.most_recent else 'default'} version at every apply)"
    return _value(addon.version) if addon.version.set else "version left to EKS"


def _group(group: GroupConfig) -> list[str]:
    lines = [f"  node group  {group.name}{'-*' if group.prefixed else ''}  ({group.kind})  {group.address}"]
    ami = group.ami
    if ami.kind == "eks-optimised":
        version = "the cluster's" if group.version_from_cluster else _value(group.version)
        kind = f"EKS's own {group.ami_type.value}" if group.ami_type.value else "EKS's own"
        lines.append(f"    image       {kind}, version {version}")
    else:
        lines.append(f"    image       {ami.kind}: {_value(ami.value)}")
    pacing = group.max_unavailable if group.max_unavailable.set else group.max_unavailable_percentage
    name = "max_unavailable" if group.max_unavailable.set else "max_unavailable_percentage"
    lines.append(f"    pacing      {name} {_value(pacing)}" if pacing.set else "    pacing      the default")
    return lines + [f"    note        {note}" for note in group.notes]


def _value(trace: Traced) -> str:
    if trace.value is None:
        return f"not known: {trace.why}" if trace.why else "not set"
    at = f"  ({trace.span})" if trace.span is not None else ""
    via = f"  by way of {' -> '.join(trace.via)}" if trace.via else ""
    return f"{trace.value}{at}{via}"


def commit_message(plan: Plan, stage: Stage) -> str:
    """Subject and body of a commit that holds the edits of one stage."""
    subject = f"Upgrade EKS cluster {plan.cluster}, stage {stage.ordinal} of {len(plan.stages)}: {stage.name}"
    moves = [f"- {c.kind} {c.name}: {c.from_} -> {c.to}" for c in stage.changes]
    targets = ["", "To be planned with:", *(f"  -target='{t}'" for t in stage.targets)] if stage.targets else []
    return "\n".join([subject, "", stage.reason, "", *moves, *targets, ""])


def _targets(stage: Stage) -> list[str]:
    """The -targets for whoever plans this pull request."""
    if not stage.targets:
        return []
    words = " ".join(f"-target='{t}'" for t in stage.targets)
    text = "The Terraform itself does not part this stage from others: plan it with exactly these targets."
    return [text, "", "```", f"terraform plan {words} -out=tfplan", "```", ""]


def _by_hand(stage: Stage) -> list[str]:
    """What others do, or have to do, once the stage is done."""
    if not stage.by_hand:
        return []
    return ["Once it is done, and not by Baton:", "", *(f"- {text}" for text in stage.by_hand), ""]


def _shared(stage: Stage) -> list[str]:
    text = shared_files(stage.edits)
    return [text[0].upper() + text[1:] + ".", ""] if text else []


def pull_request(plan: Plan, stage: Stage) -> str:
    """Markdown for the pull request of one stage."""
    rows = [f"| {c.kind} | {c.name} | {c.from_} | {c.to} | {c.reason} |" for c in stage.changes]
    expected = [f"- `{a}`" for a in stage.addresses]
    done = [f"- [{'x' if s.ordinal < stage.ordinal else ' '}] {s.ordinal}. {s.name}" for s in plan.stages]
    return "\n".join(
        [
            f"# {plan.cluster}: stage {stage.ordinal} of {len(plan.stages)}, {stage.name}",
            "",
            stage.reason + ".",
            "",
            "| what | name | from | to | why |",
            "| --- | --- | --- | --- | --- |",
            *rows,
            "",
            "Terraform must change these in place, and nothing else "
            f"(`baton gate plan.json --stage {stage.ordinal} --plan PLAN` checks that):",
            "",
            *expected,
            "",
            *_shared(stage),
            *_targets(stage),
            *_by_hand(stage),
            "Merge and apply the next stage only when this one has ended.",
            "",
            *done,
            "",
        ]
    )
