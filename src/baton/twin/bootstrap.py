"""What a Kubernetes cluster holds on EKS before anybody has put something into it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from baton.twin.timefmt import rfc3339
from baton.twin.world import World

Obj = dict[str, Any]
NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
_AUTHORITY = "kube-root-ca.crt"


def fill_new_cluster(world: World) -> None:
    """Create the objects of a new cluster that are not there yet, and keep new namespaces furnished from now on."""
    world.subscribe(lambda type_, resource, obj, old: _furnish(world, type_, obj), ["namespaces"])
    for name in NAMESPACES:
        if world.get("namespaces", None, name) is None:
            world.create("namespaces", namespace(name))
        else:
            _furnish(world, "ADDED", {"metadata": {"name": name}})
    for resource, obj in _objects(rfc3339(world.clock.now())):
        meta = obj["metadata"]
        if world.get(resource, meta.get("namespace"), meta["name"]) is None:
            world.create(resource, obj)


def namespace(name: str) -> Obj:
    """An active namespace as the API server stores it."""
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }


def _furnish(world: World, type_: str, obj: Mapping[str, Any]) -> None:
    """Every namespace gets a default service account and the cluster's certificate authority."""
    if type_ != "ADDED":
        return
    name = obj["metadata"]["name"]
    for resource, body in (
        ("serviceaccounts", _account(name, "default")),
        ("configmaps", {**_object("v1", "ConfigMap", _AUTHORITY, name), "data": {"ca.crt": ""}}),
    ):
        if world.get(resource, name, body["metadata"]["name"]) is None:
            world.create(resource, body)


def _object(version: str, kind: str, name: str, where: str = "", labels: Mapping[str, str] | None = None) -> Obj:
    metadata: Obj = {"name": name}
    if where:
        metadata["namespace"] = where
    if labels:
        metadata["labels"] = dict(labels)
    return {"apiVersion": version, "kind": kind, "metadata": metadata}


def _account(where: str, name: str) -> Obj:
    return _object("v1", "ServiceAccount", name, where)


def _service(where: str, name: str, address: str, ports: list[Obj], **spec: Any) -> Obj:
    made = _object("v1", "Service", name, where)
    made["spec"] = {
        "type": "ClusterIP",
        "clusterIP": address,
        "clusterIPs": [address],
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
        "internalTrafficPolicy": "Cluster",
        "sessionAffinity": "None",
        "ports": ports,
        **spec,
    }
    made["status"] = {"loadBalancer": {}}
    return made


def _priority(name: str, value: int, text: str) -> Obj:
    return {
        **_object("scheduling.k8s.io/v1", "PriorityClass", name),
        "value": value,
        "preemptionPolicy": "PreemptLowerPriority",
        "description": text,
    }


def _storage_class() -> Obj:
    """gp2 is there and, since 1.30, no longer the default."""
    return {
        **_object("storage.k8s.io/v1", "StorageClass", "gp2"),
        "provisioner": "kubernetes.io/aws-ebs",
        "parameters": {"type": "gp2", "fsType": "ext4"},
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
    }


def _api_service(group: str, version: str, now: str) -> Obj:
    made = _object("apiregistration.k8s.io/v1", "APIService", f"{version}.{group}")
    return {
        **made,
        "spec": {
            "group": group,
            "version": version,
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "insecureSkipTLSVerify": True,
            "service": {"name": "metrics-server", "namespace": "kube-system", "port": 443},
        },
        "status": {
            "conditions": [
                {
                    "type": "Available",
                    "status": "True",
                    "reason": "Passed",
                    "message": "all checks passed",
                    "lastTransitionTime": now,
                }
            ]
        },
    }


def _port(name: str, number: int, protocol: str = "TCP", target: int | None = None) -> Obj:
    return {"name": name, "port": number, "protocol": protocol, "targetPort": target or number}


def _objects(now: str) -> list[tuple[str, Obj]]:
    dns = [_port("dns", 53, "UDP"), _port("dns-tcp", 53), _port("metrics", 9153)]
    kubernetes = _service("default", "kubernetes", "172.20.0.1", [_port("https", 443)])
    kubernetes["metadata"]["labels"] = {"component": "apiserver", "provider": "kubernetes"}
    kube_dns = _service("kube-system", "kube-dns", "172.20.0.10", dns, selector={"k8s-app": "kube-dns"})
    kube_dns["metadata"]["labels"] = {
        "eks.amazonaws.com/component": "kube-dns",
        "k8s-app": "kube-dns",
        "kubernetes.io/cluster-service": "true",
        "kubernetes.io/name": "CoreDNS",
    }
    node_critical = "Used for system critical pods that must not be moved from their current node."
    critical = (
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary."
    )
    cores = ["coredns", "kube-proxy", "kube-proxy-config", "extension-apiserver-authentication", "amazon-vpc-cni"]
    accounts = ["aws-node", "coredns", "kube-proxy"]
    doors = ["10.0.0.20", "10.0.1.21"]  # of the API server in the account's subnets; made up
    api = [{"addresses": [door], "conditions": {"ready": True}} for door in doors]
    slice_ = _object("discovery.k8s.io/v1", "EndpointSlice", "kubernetes", "default")
    slice_["metadata"]["labels"] = {"kubernetes.io/service-name": "kubernetes"}
    slice_ |= {"addressType": "IPv4", "endpoints": api, "ports": [{"name": "https", "port": 443, "protocol": "TCP"}]}
    endpoints = _object("v1", "Endpoints", "kubernetes", "default")
    addresses = [{"ip": door} for door in doors]
    endpoints["subsets"] = [{"addresses": addresses, "ports": slice_["ports"]}]
    return [
        ("services", kubernetes),
        ("endpointslices.discovery.k8s.io", slice_),
        ("endpoints", endpoints),
        ("services", kube_dns),
        *(
            ("configmaps", {**_object("v1", "ConfigMap", n, "kube-system"), "data": {}})  # their contents are not read
            for n in cores
        ),
        *(("serviceaccounts", _account("kube-system", n)) for n in accounts),
        ("priorityclasses.scheduling.k8s.io", _priority("system-cluster-critical", 2_000_000_000, critical)),
        ("priorityclasses.scheduling.k8s.io", _priority("system-node-critical", 2_000_001_000, node_critical)),
        ("storageclasses.storage.k8s.io", _storage_class()),
        (
            "csidrivers.storage.k8s.io",
            {
                **_object("storage.k8s.io/v1", "CSIDriver", "efs.csi.aws.com"),
                "spec": {"attachRequired": False, "podInfoOnMount": False, "volumeLifecycleModes": ["Persistent"]},
            },
        ),
        ("apiservices.apiregistration.k8s.io", _api_service("metrics.k8s.io", "v1beta1", now)),
    ]


def _uuid(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:32]}"


def _digits(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def system_uuid(instance: str) -> str:
    """The UUID that an EC2 instance's firmware tells, made up from the instance id: it begins with `ec2`."""
    return _uuid("ec2" + _digits(instance))


def boot_id(instance: str) -> str:
    """Another UUID of an instance, for its one and only boot."""
    return _uuid(_digits(f"boot {instance}"))
