"""A snapshot without anybody's names: what decides how the cluster rolls stays, all else is replaced or left out.

Objects are built anew from the fields that scheduling, eviction and rolling read, so nothing slips through because it
was not thought of. Zones, regions, instance types, sizes and times stay; so do the names of EKS add-ons.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from baton.logic.eviction import controller_of
from baton.model.cluster import (
    AutoScalingGroup,
    Cluster,
    Image,
    Insight,
    Instance,
    KubeObject,
    LaunchTemplateRef,
    NodeGroup,
    Snapshot,
    Unknown,
)
from baton.rehearsal.names import Names
from baton.rehearsal.specs import Specs

Json = dict[str, Any]
_OWNED_FIRST = (  # owners before what they own, so that derived names keep their beginning
    "namespaces",
    "nodes",
    "priorityclasses.scheduling.k8s.io",
    "storageclasses.storage.k8s.io",
    "deployments.apps",
    "statefulsets.apps",
    "daemonsets.apps",
    "replicationcontrollers",
    "jobs.batch",
    "replicasets.apps",
    "services",
    "poddisruptionbudgets.policy",
    "pods",
    "persistentvolumeclaims",
    "persistentvolumes",
    "csinodes.storage.k8s.io",
)
_ANNOTATIONS = (
    "kubernetes.io/config.mirror",
    "deployment.kubernetes.io/revision",
    "deployment.kubernetes.io/desired-replicas",
    "controller.kubernetes.io/pod-deletion-cost",
    "cluster-autoscaler.kubernetes.io/safe-to-evict",
    "karpenter.sh/do-not-disrupt",
    "storageclass.kubernetes.io/is-default-class",
    "pv.kubernetes.io/bind-completed",
)
_KINDS = {
    "namespaces": ("v1", "Namespace"),
    "nodes": ("v1", "Node"),
    "priorityclasses.scheduling.k8s.io": ("scheduling.k8s.io/v1", "PriorityClass"),
    "storageclasses.storage.k8s.io": ("storage.k8s.io/v1", "StorageClass"),
    "deployments.apps": ("apps/v1", "Deployment"),
    "statefulsets.apps": ("apps/v1", "StatefulSet"),
    "daemonsets.apps": ("apps/v1", "DaemonSet"),
    "replicationcontrollers": ("v1", "ReplicationController"),
    "jobs.batch": ("batch/v1", "Job"),
    "replicasets.apps": ("apps/v1", "ReplicaSet"),
    "services": ("v1", "Service"),
    "poddisruptionbudgets.policy": ("policy/v1", "PodDisruptionBudget"),
    "pods": ("v1", "Pod"),
    "persistentvolumeclaims": ("v1", "PersistentVolumeClaim"),
    "persistentvolumes": ("v1", "PersistentVolume"),
    "csinodes.storage.k8s.io": ("storage.k8s.io/v1", "CSINode"),
}


def anonymise(snapshot: Snapshot) -> Snapshot:
    """The same cluster under other names. Selectors match what they matched, budgets cover what they covered; a
    rehearsal differs only as another seed's would. The same snapshot gives the same result."""
    names = Names()
    for group in sorted(g.name for g in snapshot.node_groups):
        names.group(group)  # in this order, because equally large groups are rolled in the order of their names
    objects = _Objects(names, snapshot)
    made = {r: tuple(objects.each(r)) for r in _OWNED_FIRST if snapshot.objects.get(r)}
    left_out = sorted(set(snapshot.objects) - set(_OWNED_FIRST))
    unknowns = [
        Unknown(names.text(u.what) if "." not in u.what else u.what, "not told: anonymised") for u in snapshot.unknowns
    ]
    unknowns += [Unknown(f"objects.{r}", "left out of an anonymised snapshot") for r in left_out]
    return replace(
        snapshot,
        cluster=_cluster(names, snapshot.cluster),
        node_groups=tuple(_group(names, g) for g in snapshot.node_groups),
        addons=tuple(replace(a, configuration="", service_account_role="", arn="", health=()) for a in snapshot.addons),
        images=tuple(_image(names, i) for i in snapshot.images),
        subnets=tuple(replace(s, id=names.ids(s.id), cidr="") for s in snapshot.subnets),
        auto_scaling_groups=tuple(_scaling(names, a) for a in snapshot.auto_scaling_groups),
        insights=tuple(
            Insight(f"insight-{n}", i.name, i.category, i.status, "", i.kubernetes_version)
            for n, i in enumerate(snapshot.insights, 1)
        ),
        fargate_profiles=tuple(f"profile-{n}" for n, _ in enumerate(snapshot.fargate_profiles, 1)),
        active_updates=tuple(replace(u, id=names.uid(u.id), params={}, errors=()) for u in snapshot.active_updates),
        objects=made,
        unknowns=tuple(unknowns),
    )


# --- AWS -------------------------------------------------------------------------------------------------------------


def _cluster(names: Names, old: Cluster) -> Cluster:
    name = names.cluster(old.name)
    parts = old.arn.split(":")
    arn = f"arn:aws:eks:{parts[3]}:{names.account(parts[4])}:cluster/{name}" if len(parts) > 5 else ""
    return replace(
        old,
        name=name,
        arn=arn,
        endpoint="",
        certificate_authority="",
        subnet_ids=tuple(map(names.ids, old.subnet_ids)),
        security_group_ids=tuple(map(names.ids, old.security_group_ids)),
        health=(),
        tags={},
    )


def _group(names: Names, old: NodeGroup) -> NodeGroup:
    template = old.launch_template
    name = names.group(old.name)
    return replace(
        old,
        name=name,
        cluster=names.cluster(old.cluster),
        release_version=names.ids(old.release_version) if old.custom_ami else old.release_version,
        subnet_ids=tuple(map(names.ids, old.subnet_ids)),
        launch_template=None
        if template is None
        else LaunchTemplateRef(names.ids(template.id), f"template-of-{name}", template.version),
        auto_scaling_groups=tuple(names._new("asg", a, f"eks-{name}-{{:02d}}") for a in old.auto_scaling_groups),
        labels=names.labels(old.labels),
        taints=tuple({**t, "key": names.key(t["key"]), **_value(names, t)} for t in old.taints),
        health=(),
        arn="",
        image_id=names.ids(old.image_id) if old.image_id else "",
        tags={},
        user_data=None,
    )


def _value(names: Names, taint: Mapping[str, str]) -> Json:
    return {"value": names.value(taint["key"], taint["value"])} if taint.get("value") else {}


def _image(names: Names, old: Image) -> Image:
    name = names.ami_name(old.name)
    version = {k: v for k, v in old.tags.items() if k == "KubernetesVersion"}
    return replace(
        old,
        id=names.ids(old.id),
        name=name,
        owner=names.account(old.owner),
        description="" if name != old.name else old.description,
        tags=version,
    )


def _scaling(names: Names, old: AutoScalingGroup) -> AutoScalingGroup:
    return replace(
        old,
        name=names._new("asg", old.name, "asg-{:02d}"),
        instances=tuple(_instance(names, i) for i in old.instances),
    )


def _instance(names: Names, old: Instance) -> Instance:
    return replace(
        old,
        id=names.ids(old.id),
        image_id=names.ids(old.image_id) if old.image_id else "",
        private_dns=names.node(old.private_dns) if old.private_dns else "",
    )


# --- Kubernetes ------------------------------------------------------------------------------------------------------


class _Objects:
    """Builds objects anew, resource by resource; owners must have been built before what they own."""

    def __init__(self, names: Names, snapshot: Snapshot) -> None:
        self._names = names
        self._snapshot = snapshot
        self._specs = Specs(names)
        self._parts: dict[str, Callable[[KubeObject], Json]] = {
            "nodes": self._node,
            "pods": self._pod,
            "services": self._service,
            "poddisruptionbudgets.policy": self._budget,
            "persistentvolumeclaims": self._claim,
            "persistentvolumes": self._volume,
            "priorityclasses.scheduling.k8s.io": lambda o: _only(o, "value", "globalDefault", "preemptionPolicy"),
            "storageclasses.storage.k8s.io": lambda o: _only(o, "provisioner", "volumeBindingMode", "reclaimPolicy"),
            "namespaces": lambda o: {"status": {"phase": "Active"}},
            "csinodes.storage.k8s.io": self._csi,
        }

    def each(self, resource: str) -> list[Json]:
        version, kind = _KINDS[resource]
        part = self._parts.get(resource, self._workload)
        found = []
        for old in self._snapshot.objects[resource]:
            meta = self._meta(resource, kind, old)
            found.append({"apiVersion": version, "kind": kind, "metadata": meta, **part(old)})
        return found

    def _meta(self, resource: str, kind: str, old: KubeObject) -> Json:
        names, meta = self._names, old["metadata"]
        namespace = meta.get("namespace")
        made: Json = {"name": self._name(resource, old)}
        if namespace:
            made["namespace"] = names.namespace(namespace)
        if meta.get("uid"):
            made["uid"] = names.uid(str(meta["uid"]))
        for key in ("creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"):
            if key in meta:
                made[key] = meta[key]
        labels = self._labels(old)
        if labels:
            made["labels"] = labels
        kept = {k: v for k, v in (meta.get("annotations") or {}).items() if k in _ANNOTATIONS}
        if kept:
            made["annotations"] = kept
        owners = [self._owner(namespace, r) for r in meta.get("ownerReferences") or () if r.get("controller")]
        if owners:
            made["ownerReferences"] = owners
        return made

    def _labels(self, old: KubeObject) -> Json:
        """A StatefulSet's revision label begins with its name."""
        meta = old["metadata"]
        labels = dict(meta.get("labels") or {})
        owner = controller_of(old)
        revision = labels.get("controller-revision-hash", "")
        made = self._names.labels(labels)
        if owner is not None and revision:
            before = str(owner.get("name"))
            new = self._names.named(meta.get("namespace"), before)
            tail = revision[len(before) :] if revision.startswith(before + "-") else ""
            made["controller-revision-hash"] = new + tail if tail else revision
        return made

    def _name(self, resource: str, old: KubeObject) -> str:
        names, meta = self._names, old["metadata"]
        namespace, name = meta.get("namespace"), str(meta["name"])
        if resource == "namespaces":
            return names.namespace(name) or ""
        if resource in ("nodes", "csinodes.storage.k8s.io"):
            return names.node(name)
        if resource == "persistentvolumeclaims":
            return self._specs.claim(namespace, name)
        owner = controller_of(old)
        if owner is None:
            return names.named(namespace, name)
        before = str(owner.get("name"))
        made = names.derived(namespace, name, before, names.named(namespace, before))
        if resource == "pods":
            names.pod(name, made)
        return made

    def _owner(self, namespace: str | None, old: Mapping[str, Any]) -> Json:
        made = {k: old[k] for k in ("apiVersion", "kind", "controller", "blockOwnerDeletion") if k in old}
        named = self._names.node if old.get("kind") == "Node" else lambda n: self._names.named(namespace, n)
        return {**made, "name": named(str(old.get("name"))), "uid": self._names.uid(str(old.get("uid")))}

    # --- kinds

    def _node(self, old: KubeObject) -> Json:
        names, spec, status = self._names, old.get("spec") or {}, old.get("status") or {}
        name = old["metadata"]["name"]
        made: Json = _only(spec, "unschedulable")
        if spec.get("taints"):
            made["taints"] = [
                {**_only(t, "effect", "timeAdded"), "key": names.key(t["key"]), **_value(names, t)}
                for t in spec["taints"]
            ]
        if spec.get("providerID"):
            head, _, instance = str(spec["providerID"]).rpartition("/")
            made["providerID"] = f"{head}/{names.ids(instance)}" if head.startswith("aws:///") else names.ids(instance)
        shown: Json = {
            "addresses": [
                {"type": "InternalIP", "address": names.address(name)},
                {"type": "Hostname", "address": names.node(name)},
            ],
            "conditions": _conditions(status),
            "nodeInfo": _only(
                status.get("nodeInfo") or {},
                "kubeletVersion",
                "kubeProxyVersion",
                "architecture",
                "operatingSystem",
                "osImage",
                "containerRuntimeVersion",
                "kernelVersion",
            ),
        }
        for key in ("allocatable", "capacity"):
            if isinstance(status.get(key), Mapping):
                shown[key] = {names.key(k): v for k, v in status[key].items()}
        if status.get("images"):
            shown["images"] = [
                {"names": [names.container_image(n) for n in i.get("names") or ()], **_only(i, "sizeBytes")}
                for i in status["images"]
            ]
        return {"spec": made, "status": shown}

    def _pod(self, old: KubeObject) -> Json:
        status = old.get("status") or {}
        shown = {**_only(status, "phase", "qosClass", "startTime"), "conditions": _conditions(status)}
        if status.get("containerStatuses"):
            shown["containerStatuses"] = [
                {
                    "name": f"c-{n}",
                    **_only(c, "ready", "started", "restartCount"),
                    "state": {
                        k: _only(v, "startedAt", "finishedAt", "exitCode")
                        for k, v in (c.get("state") or {}).items()
                        if isinstance(v, Mapping)
                    },
                }
                for n, c in enumerate(status["containerStatuses"], 1)
            ]
        return {"spec": self._specs.pod(old["metadata"].get("namespace"), old["spec"]), "status": shown}

    def _workload(self, old: KubeObject) -> Json:
        names, spec, namespace = self._names, old.get("spec") or {}, old["metadata"].get("namespace")
        made = _only(
            spec,
            "replicas",
            "minReadySeconds",
            "revisionHistoryLimit",
            "progressDeadlineSeconds",
            "strategy",
            "updateStrategy",
            "podManagementPolicy",
            "paused",
            "parallelism",
            "completions",
            "backoffLimit",
            "completionMode",
            "suspend",
            "ordinals",
            "persistentVolumeClaimRetentionPolicy",
        )
        selector = spec.get("selector")
        if isinstance(selector, Mapping):
            plain = old.get("kind") == "ReplicationController" or not {"matchLabels", "matchExpressions"} & set(
                selector
            )
            made["selector"] = names.labels(selector) if plain and selector else self._specs.selector(selector)
        if spec.get("serviceName"):
            made["serviceName"] = names.named(namespace, str(spec["serviceName"]))
        template = spec.get("template")
        if isinstance(template, Mapping):
            labels = names.labels((template.get("metadata") or {}).get("labels"))
            inner = self._specs.pod(namespace, template.get("spec") or {})
            made["template"] = {"metadata": {"labels": labels}, "spec": inner}
        if spec.get("volumeClaimTemplates"):
            made["volumeClaimTemplates"] = [
                {
                    "metadata": {"name": self._specs.claim_template(c["metadata"]["name"])},
                    "spec": self._specs.claim_spec(c.get("spec") or {}),
                }
                for c in spec["volumeClaimTemplates"]
            ]
        return {"spec": made, "status": self._counts(old)}

    def _counts(self, old: KubeObject) -> Json:
        """Numbers, and the revisions of a StatefulSet under its new name."""
        status, meta = old.get("status") or {}, old["metadata"]
        made = {k: v for k, v in status.items() if isinstance(v, int)}
        for key in ("currentRevision", "updateRevision"):
            if str(status.get(key, "")).startswith(meta["name"] + "-"):
                made[key] = self._names.named(meta.get("namespace"), meta["name"]) + status[key][len(meta["name"]) :]
        return {**made, **_only(status, "startTime", "completionTime")}

    def _service(self, old: KubeObject) -> Json:
        spec = old.get("spec") or {}
        ports = [_only(p, "port", "protocol", "nodePort") for p in spec.get("ports") or ()]
        return {"spec": {"selector": self._names.labels(spec.get("selector")), "ports": ports, **_only(spec, "type")}}

    def _budget(self, old: KubeObject) -> Json:
        spec, status = old.get("spec") or {}, old.get("status") or {}
        made = _only(spec, "minAvailable", "maxUnavailable", "unhealthyPodEvictionPolicy")
        if spec.get("selector") is not None:
            made["selector"] = self._specs.selector(spec["selector"])
        return {"spec": made, "status": {k: v for k, v in status.items() if isinstance(v, int)}}

    def _claim(self, old: KubeObject) -> Json:
        spec = old.get("spec") or {}
        made = self._specs.claim_spec(spec)
        if spec.get("volumeName"):
            made["volumeName"] = self._names.named(None, str(spec["volumeName"]))
        return {"spec": made, "status": _only(old.get("status") or {}, "phase")}

    def _volume(self, old: KubeObject) -> Json:
        names, spec = self._names, old.get("spec") or {}
        made = {**self._specs.claim_spec(spec), **_only(spec, "capacity", "persistentVolumeReclaimPolicy")}
        reference = spec.get("claimRef")
        if isinstance(reference, Mapping):
            made["claimRef"] = {
                "kind": "PersistentVolumeClaim",
                "namespace": names.namespace(reference.get("namespace")),
                "name": self._specs.claim(reference.get("namespace"), str(reference.get("name"))),
                **({"uid": names.uid(str(reference["uid"]))} if reference.get("uid") else {}),
            }
        if isinstance(spec.get("csi"), Mapping):
            made["csi"] = {
                "driver": spec["csi"].get("driver", ""),
                "volumeHandle": names.ids(str(spec["csi"].get("volumeHandle", ""))),
            }
        if isinstance(spec.get("awsElasticBlockStore"), Mapping):
            made["awsElasticBlockStore"] = {
                "volumeID": names.ids(str(spec["awsElasticBlockStore"].get("volumeID", "")))
            }
        required = (spec.get("nodeAffinity") or {}).get("required")
        if required:
            made["nodeAffinity"] = {"required": self._specs.node_terms(required)}
        return {"spec": made, "status": _only(old.get("status") or {}, "phase")}

    def _csi(self, old: KubeObject) -> Json:
        drivers = (old.get("spec") or {}).get("drivers") or ()
        node = self._names.node(old["metadata"]["name"])
        return {
            "spec": {"drivers": [{**_only(d, "name", "allocatable", "topologyKeys"), "nodeID": node} for d in drivers]}
        }


def _only(old: Mapping[str, Any], *keys: str) -> Json:
    return {k: old[k] for k in keys if k in old}


def _conditions(status: Mapping[str, Any]) -> Sequence[Json]:
    """What they say, not in whose words."""
    return [
        _only(c, "type", "status", "lastTransitionTime", "lastHeartbeatTime", "reason")
        for c in status.get("conditions") or ()
    ]
