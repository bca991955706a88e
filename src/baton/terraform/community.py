"""Recognises the community EKS module (terraform-aws-modules/eks/aws), by its source or by what a copy of it declares.

A copy that a team keeps in its repository has the interface of the release it was taken from: it is told by variables
and resources that only that module has together, not by the name of its folder. A module that a team wrote itself,
even with the same input names, is none and is read as it stands.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from baton.terraform.loading import Directory

_SOURCES = ("terraform-aws-modules/eks/aws", "terraform-aws-modules/terraform-aws-eks")
EKS, MANAGED, SELF_MANAGED = "eks", "eks-managed-node-group", "self-managed-node-group"


@dataclass(frozen=True, slots=True)
class Community:
    """`part` is `eks` or the submodule (`eks-managed-node-group`, `karpenter`, ...); `line` the major release.

    `line` 0: not told by the module itself, see the version that the call pins.
    """

    part: str
    line: int = 0


def by_source(source: str) -> Community | None:
    """The module from the registry, a mirror of it, or git."""
    if not any(name in source.removesuffix(".git") for name in _SOURCES):
        return None
    submodule = re.search(r"//modules/([\w-]+)", source)
    return Community(submodule[1] if submodule else EKS)


def by_content(directory: Directory) -> Community | None:
    """A copy of the module, or of one of its node group modules, by what it declares."""
    variables, resources, modules = directory.variables, directory.resources, directory.modules
    if "kubernetes_version" not in variables and "cluster_version" not in variables:
        return None
    if ("aws_eks_cluster", "this") in resources:
        own = {"eks_managed_node_groups", "self_managed_node_groups"} <= variables.keys()
        return Community(EKS, _line(directory)) if own and "eks_managed_node_group" in modules else None
    if not {"ami_id", "launch_template_name", "update_launch_template_default_version"} <= variables.keys():
        return None
    if "user_data" not in modules or ("aws_launch_template", "this") not in resources:
        return None
    for kind, part in (("aws_eks_node_group", MANAGED), ("aws_autoscaling_group", SELF_MANAGED)):
        if (kind, "this") in resources:
            return Community(part, 21 if "kubernetes_version" in variables else 0)
    return None


def _line(directory: Directory) -> int:
    """v21 renamed inputs, v20 brought access entries, v19 the time between the control plane and the nodes."""
    variables = directory.variables
    if "kubernetes_version" in variables:
        return 21
    if "access_entries" in variables:
        return 20
    return 19 if "dataplane_wait_duration" in variables else 18
