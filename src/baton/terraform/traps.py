"""What a change of an attribute does to an EKS cluster, and what to do instead. One entry each; the gate reads them.

Sources: plans of the real module v20.8.4 and v20.37.2 with the AWS provider 5.100 against a live state, and the
provider's ForceNew attributes.
"""

from __future__ import annotations

from dataclasses import dataclass

from baton.model.plan import StageKind


@dataclass(frozen=True, slots=True)
class Trap:
    """`why` completes "would be replaced, forced by X: ..."."""

    attribute: str
    why: str
    hint: str


_NEW_GROUP = "make a second group beside it and drain the old one; a replaced group is not paced by max_unavailable"

# Resource type -> attributes that force a replacement.
REPLACED: dict[str, tuple[Trap, ...]] = {
    "aws_eks_node_group": (
        Trap("ami_type", "the AMI type of a group cannot be changed (also ami_id from empty to set)", _NEW_GROUP),
        Trap("instance_types", "the instance types of a group cannot be changed", _NEW_GROUP),
        Trap("capacity_type", "ON_DEMAND and SPOT cannot be exchanged", _NEW_GROUP),
        Trap("subnet_ids", "the subnets of a group cannot be changed; often only their order or a new one differs",
             "keep the old list (sort it, or give the group its own subnet_ids)"),
        Trap("disk_size", "the disk size outside of a launch template cannot be changed",
             "put block_device_mappings into the launch template"),
        Trap("remote_access", "remote access cannot be changed", "remove it, or put the key into the launch template"),
        Trap("node_group_name_prefix", "the name prefix belongs to the group", "keep the name"),
        Trap("node_group_name", "the name belongs to the group", "keep the name, and the key of the group in the map"),
        Trap("node_role_arn", "the role of a group cannot be changed; iam_role_name does that too", "keep the role"),
        Trap("launch_template", "a group cannot change to another launch template (or lose its own)",
             "keep launch_template_name and use_custom_launch_template as they are"),
        Trap("cluster_name", "the cluster is replaced, or named otherwise", "see what happens to the cluster first"),
        Trap("release_version", "a release version cannot go back", "leave the release version out"),
    ),
    "aws_eks_cluster": (
        Trap("name", "the name belongs to the cluster", "keep the name"),
        Trap("role_arn", "the role of a cluster cannot be changed", "keep iam_role_name and its prefix"),
        Trap("bootstrap_self_managed_addons", "it counts at creation only, and differs from what the state says",
             "set it to what the state says (true for clusters made before module v20.18)"),
        Trap("access_config", "bootstrap_cluster_creator_admin_permissions counts at creation only",
             "keep enable_cluster_creator_admin_permissions as it was; the module sets false there itself"),
        Trap("encryption_config", "encryption cannot be taken away or given another key",
             "keep cluster_encryption_config; a key is rotated, not replaced"),
        Trap("kubernetes_network_config", "the service network belongs to the cluster", "keep the CIDR and family"),
        Trap("vpc_config", "the VPC of a cluster cannot be changed", "keep the subnets in the same VPC"),
        Trap("version", "a version cannot go back", "set cluster_version to what runs, or a newer one"),
    ),
    "aws_launch_template": (
        Trap("name_prefix", "the template is named otherwise", "keep launch_template_name and the group's name"),
        Trap("name", "the template is named otherwise", "keep launch_template_name and the group's name"),
    ),
    "aws_eks_addon": (
        Trap("addon_name", "the add-on is another one", "keep the key of the add-on"),
        Trap("cluster_name", "the cluster is replaced, or named otherwise", "see what happens to the cluster first"),
    ),
    "aws_iam_role_policy_attachment": (
        Trap("policy_arn", "its policy is known only after apply: module-level depends_on does that",
             "remove `depends_on` from the module call; references order it already"),
        Trap("role", "its role is known only after apply, or named otherwise",
             "remove `depends_on` from the module call; references order it already"),
    ),
    "aws_eks_access_entry": (
        Trap("principal_arn", "its principal is known only after apply: module-level depends_on does that",
             "remove `depends_on` from the module call; references order it already"),
    ),
}  # fmt: skip

_ALONE = "apply it by itself when a roll is wanted, or put it back"

# Attributes that change in place besides what a stage is about.
ROLLS_NODES: dict[str, tuple[Trap, ...]] = {
    "aws_launch_template": (
        Trap("user_data", "changed user data makes a template version that rolls the nodes", _ALONE),
        Trap("tag_specifications", "changed tags make a template version that rolls the nodes", _ALONE),
        Trap("metadata_options", "changed metadata options (module v21 does that) roll the nodes", _ALONE),
        Trap("block_device_mappings", "changed disks roll the nodes", _ALONE),
        Trap("vpc_security_group_ids", "changed security groups roll the nodes", _ALONE),
        Trap("network_interfaces", "changed network interfaces roll the nodes", _ALONE),
        Trap("monitoring", "changed monitoring (module v21 does that) rolls the nodes", _ALONE),
        Trap("image_id", "the image moves", "see what the AMI filter finds now"),
    ),
    "aws_eks_node_group": (
        Trap("scaling_config", "the sizes change too: the call would undo what an autoscaler has set",
             "add lifecycle { ignore_changes = [scaling_config[0].desired_size] }, and change sizes by themselves"),
        Trap("update_config", "introduced together with a roll it does not govern that roll: EKS changes nodes first",
             "make it a stage of its own, first (`baton plan` does)"),
        Trap("force_update_version", "forced updates delete pods that a disruption budget protects", "put it back"),
        Trap("launch_template", "a new template version rolls the nodes", _ALONE),
        Trap("version", "a new version rolls the nodes", _ALONE),
        Trap("release_version", "a new release rolls the nodes (use_latest_ami_release_version does that by itself)",
             "set use_latest_ami_release_version = false, and name the release when a roll is wanted"),
    ),
    "aws_eks_cluster": (
        Trap("upgrade_policy", "the support type decides what the cluster costs after standard support",
             "change it by itself"),
    ),
}  # fmt: skip

# EKS resources that a stage must leave alone, though they are part of the cluster.
REFUSED_UPDATES: dict[tuple[StageKind, str], Trap] = {
    (StageKind.CONTROL_PLANE, "aws_eks_addon"): Trap(
        "addon_version",
        "add-ons move in their own stage, after the control plane; this one follows a data source",
        "hold it: write its addon_version (`baton stage` does that)",
    ),
    (StageKind.CONTROL_PLANE, "aws_eks_node_group"): Trap(
        "version",
        "its nodes would roll together with the control plane",
        "give the group its own cluster_version (kubernetes_version from v21) until its stage",
    ),
    (StageKind.CONTROL_PLANE, "aws_launch_template"): Trap(
        "image_id",
        "a new template version rolls nodes together with the control plane",
        "write the AMI filter's version by itself, not from the cluster's version",
    ),
    (StageKind.ADDONS, "aws_eks_node_group"): Trap(
        "version", "nodes roll in their own stage, after the add-ons", "see what changed it; hold it until its stage"
    ),
    (StageKind.ADDONS, "aws_launch_template"): Trap(
        "image_id", "a new template version rolls nodes before their stage", "pin the AMI filter until its stage"
    ),
    (StageKind.ADDONS, "aws_eks_cluster"): Trap(
        "version", "the control plane moves in its own stage", "do the control plane stage first"
    ),
    (StageKind.ADDONS, "aws_eks_addon"): Trap(
        "addon_version", "this add-on is not part of the stage", "pin its addon_version at what is installed"
    ),
    (StageKind.NODE_GROUP, "aws_eks_node_group"): Trap(
        "launch_template",
        "this group is not part of the stage: groups without an edge between them roll at once",
        "give the group an AMI filter of its own, so that groups roll one after the other",
    ),
    (StageKind.NODE_GROUP, "aws_launch_template"): Trap(
        "image_id",
        "the template of a group that is not part of the stage would get a new version",
        "give the group an AMI filter of its own, so that groups roll one after the other",
    ),
    (StageKind.NODE_GROUP, "aws_eks_addon"): Trap(
        "addon_version", "add-ons move in their own stage", "pin its addon_version at what is installed"
    ),
    (StageKind.NODE_GROUP, "aws_eks_cluster"): Trap(
        "version", "the control plane moves in its own stage", "do the control plane stage first"
    ),
    (StageKind.UPDATE_CONFIG, "aws_launch_template"): Trap(
        "image_id", "nodes would roll before the new pacing is in force", "put the template back until its stage"
    ),
    (StageKind.UPDATE_CONFIG, "aws_eks_cluster"): Trap(
        "version", "the control plane moves in its own stage", "put the version back until its stage"
    ),
    (StageKind.UPDATE_CONFIG, "aws_eks_addon"): Trap(
        "addon_version", "add-ons move in their own stage", "pin its addon_version at what is installed"
    ),
}
