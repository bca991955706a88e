"""EndpointSlices and Endpoints: which pods of a Service are ready; not kept in rehearsals."""

from __future__ import annotations

from baton.logic.eviction import selector_matches
from baton.twin.controllers.base import Cluster, Controller, Key, Obj, Pod
from baton.twin.controllers.templates import owner_reference

SERVICES, SLICES = "services", "endpointslices.discovery.k8s.io"
SLICE_SIZE = 100  # --max-endpoints-per-slice


class EndpointController(Controller):
    """Keys are (namespace, service)."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        self._selectors: dict[str, dict[str, Obj]] = {}  # namespace -> service -> selector

    def start(self) -> None:
        for service in list(self.world.items(SERVICES)):
            self._on_service("ADDED", SERVICES, service, None)
        self.world.subscribe(self._on_service, resources=[SERVICES])

    def _on_service(self, type_: str, resource: str, obj: Obj, old: Obj | None) -> None:
        namespace, name = obj["metadata"]["namespace"], obj["metadata"]["name"]
        known = self._selectors.setdefault(namespace, {})
        known.pop(name, None)
        if type_ != "DELETED" and obj["spec"].get("selector"):
            known[name] = {"matchLabels": obj["spec"]["selector"]}
        if type_ != "DELETED":
            self.enqueue((namespace, name))

    def on_pod(self, pod: Pod, bits: int) -> None:
        for name, selector in self._selectors.get(pod.namespace, {}).items():
            if selector_matches(selector, pod.labels):
                self.enqueue((pod.namespace, name))

    def sync(self, key: Key) -> None:
        service = self.world.get(SERVICES, *key)
        selector = self._selectors.get(key[0], {}).get(key[1])
        if service is None or selector is None:
            return
        pods = [
            p
            for p in self.cluster.pods.by_namespace.get(key[0], {}).values()
            if p.node and not p.finished and selector_matches(selector, p.labels) and _ip(p)
        ]
        pods.sort(key=lambda p: p.name)
        self._write_slices(service, [self._endpoint(p) for p in pods])
        if len(pods) <= 1000:  # the older Endpoints object is cut there, as upstream
            self._write_endpoints(service, pods)

    def _endpoint(self, pod: Pod) -> Obj:
        node = self.world.get("nodes", None, pod.node)
        zone = ((node or {}).get("metadata", {}).get("labels") or {}).get("topology.kubernetes.io/zone")
        endpoint: Obj = {
            "addresses": [_ip(pod)],
            "conditions": {
                "ready": pod.ready and not pod.terminating,
                "serving": pod.ready,
                "terminating": pod.terminating,
            },
            "nodeName": pod.node,
            "targetRef": {"kind": "Pod", "name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
        }
        if zone:
            endpoint["zone"] = zone
        return endpoint

    def _write_slices(self, service: Obj, endpoints: list[Obj]) -> None:
        meta = service["metadata"]
        ports = [
            {"name": p.get("name", ""), "port": _target(p), "protocol": p.get("protocol", "TCP")}
            for p in service["spec"].get("ports") or ()
        ]
        chunks = [endpoints[i : i + SLICE_SIZE] for i in range(0, len(endpoints), SLICE_SIZE)] or [[]]
        for index, chunk in enumerate(chunks):
            name = f"{meta['name']}-{meta['uid'][:5]}" + (f"-{index}" if index else "")
            there = self.world.get(SLICES, meta["namespace"], name)
            if there is None:
                self.world.create(
                    SLICES,
                    {
                        "apiVersion": "discovery.k8s.io/v1",
                        "kind": "EndpointSlice",
                        "metadata": {
                            "name": name,
                            "namespace": meta["namespace"],
                            "generateName": meta["name"] + "-",
                            "labels": {
                                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                                "kubernetes.io/service-name": meta["name"],
                            },
                            "ownerReferences": [owner_reference(service, "v1", "Service")],
                        },
                        "addressType": "IPv4",
                        "endpoints": chunk,
                        "ports": ports,
                    },
                )
            elif there["endpoints"] != chunk or there["ports"] != ports:
                self.world.update(SLICES, {**there, "endpoints": chunk, "ports": ports})
        extra = len(chunks)
        while self.world.get(SLICES, meta["namespace"], f"{meta['name']}-{meta['uid'][:5]}-{extra}") is not None:
            self.world.remove(SLICES, meta["namespace"], f"{meta['name']}-{meta['uid'][:5]}-{extra}")
            extra += 1

    def _write_endpoints(self, service: Obj, pods: list[Pod]) -> None:
        meta = service["metadata"]
        ports = [
            {k: v for k, v in (("name", p.get("name")), ("port", _target(p)), ("protocol", "TCP")) if v}
            for p in service["spec"].get("ports") or ()
        ]
        subset: Obj = {}
        for field, ready in (("addresses", True), ("notReadyAddresses", False)):
            found = [
                {
                    "ip": _ip(p),
                    "nodeName": p.node,
                    "targetRef": {"kind": "Pod", "name": p.name, "namespace": p.namespace, "uid": p.uid},
                }
                for p in pods
                if not p.terminating and p.ready == ready
            ]
            if found:
                subset[field] = found
        if subset and ports:
            subset["ports"] = ports
        there = self.world.get("endpoints", meta["namespace"], meta["name"])
        subsets = [subset] if subset else []
        if there is None:
            metadata = {"name": meta["name"], "namespace": meta["namespace"]}
            made: Obj = {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata}
            self.world.create("endpoints", {**made, **({"subsets": subsets} if subsets else {})})
        elif (there.get("subsets") or []) != subsets:
            kept = {k: v for k, v in there.items() if k != "subsets"}
            self.world.update("endpoints", {**kept, **({"subsets": subsets} if subsets else {})})


def _ip(pod: Pod) -> str:
    return str((pod.obj.get("status") or {}).get("podIP") or "")


def _target(port: Obj) -> int:
    target = port.get("targetPort")
    return target if isinstance(target, int) else int(port.get("port") or 0)
