"""The workloads of synthetic clusters: templates with their traits, and pods placed where a scheduler might have put
them.

Objects of one app share their specs, labels and conditions, so 150,000 pods stay light. Numbers come from integers and
`random.Random` only, so they are the same on every machine.
"""

from __future__ import annotations

from baton.errors import UsageError
from baton.rehearsal.shapes import (
    APPETITES,
    BLOCKING,
    BUDGETS,
    FIRST,
    SECOND,
    SIZES,
    App,
    Clerk,
    Json,
    Machine,
    Pool,
    allowed,
    container,
    counts,
    head,
    letters,
    owner,
    requests,
    spread,
)
from baton.twin.addons import manifests
from baton.twin.timefmt import rfc3339

ZONE, HOST = "topology.kubernetes.io/zone", "kubernetes.io/hostname"
HASHED = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"


class Workloads:
    """Fills pools of nodes with exactly `pods` pods."""

    def __init__(self, clerk: Clerk, pools: list[Pool], pods: int, addons: dict[str, str]) -> None:
        self.clerk = clerk
        self.pools = pools
        self.addons = addons
        self.wanted = pods
        self.objects: dict[str, list[Json]] = {"pods": []}
        self._names: dict[str, int] = {}
        self._templates: dict[int, Json] = {}
        machines = [m for p in pools for m in p.machines]
        self.general = Pool("", [m for p in pools if not p.dedicated for m in p.machines], pools[0].zones)
        self._mean_cpu, self._mean_memory = 0, 0
        self._machines = machines
        teams = max(2, min(60, pods // 800))
        self._namespaces = [f"team-{i + 1:02d}" for i in range(teams)]

    # --- objects

    def _add(self, resource: str, obj: Json) -> Json:
        self.objects.setdefault(resource, []).append(obj)
        return obj

    def make(self, blocking: int) -> dict[str, list[Json]]:
        """All objects but the nodes, by resource; `blocking` apps get budgets that block."""
        for namespace in ("default", "kube-system", *self._namespaces):
            labels = {"kubernetes.io/metadata.name": namespace}
            self._add("namespaces", {**head("v1", "Namespace", namespace), "status": {"phase": "Active"}})
            self.objects["namespaces"][-1]["metadata"] |= {"labels": labels, "uid": self.clerk.uid("ns")}
        self._classes()
        for name, version in self.addons.items():
            for resource, obj in manifests(name, version):
                self._install(resource, obj)
        self._daemonset_of_our_own()
        self._set_means()
        for index in range(blocking):
            if self._left() > 8:
                self._blocking(index)
        for pool in self.pools:
            if pool.dedicated:
                self._fill_dedicated(pool)
        for _ in range(max(1, self.wanted // 4000)):
            self._bare()
        while self._left() > 0:
            self._app(self._draw(self.general, self._left()))
        return self.objects

    def _left(self) -> int:
        return self.wanted - len(self.objects["pods"])

    def _classes(self) -> None:
        for name, value in (
            ("business-critical", 100_000),
            ("best-effort", -100),
            ("system-cluster-critical", 2_000_000_000),
            ("system-node-critical", 2_000_001_000),
        ):
            made = {**head("scheduling.k8s.io/v1", "PriorityClass", name), "value": value}
            made["metadata"] |= {"uid": self.clerk.uid("pc")}
            self._add("priorityclasses.scheduling.k8s.io", made)
        storage = {
            **head("storage.k8s.io/v1", "StorageClass", "gp3"),
            "provisioner": "ebs.csi.aws.com",
            "volumeBindingMode": "WaitForFirstConsumer",
            "reclaimPolicy": "Delete",
        }
        storage["metadata"] |= {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}, "uid": "sc-gp3"}
        self._add("storageclasses.storage.k8s.io", storage)

    def _set_means(self) -> None:
        """An average pod's share of 62 % of what is free after the DaemonSets."""
        left = max(1, self._left())
        self._mean_cpu = max(10, sum(m.cpu for m in self._machines) * 62 // (100 * left))
        self._mean_memory = max(16, sum(m.memory for m in self._machines) * 62 // (100 * left))

    # --- system pods

    def _install(self, resource: str, obj: Json) -> None:
        meta = {**obj["metadata"], "uid": self.clerk.uid(resource[:3]), "generation": 1}
        obj = {**obj, "metadata": meta}
        if resource == "daemonsets.apps":
            self._daemonset(obj)
        elif resource == "deployments.apps":
            template = obj["spec"]["template"]
            app = App(meta["name"], meta["namespace"], obj["spec"]["replicas"], self.general, 100, 200)
            app.replicas = min(app.replicas, len(self._machines))
            self._deployment(app, template, obj)
        else:
            self._add(resource, obj)

    def _daemonset_of_our_own(self) -> None:
        """A log collector, so that not every DaemonSet is EKS's."""
        labels = {"app": "log-collector"}
        template = {
            "metadata": {"labels": labels},
            "spec": {
                "containers": [container("collector", "registry.example.com/log-collector:4.2", 50, 96)],
                "tolerations": [{"operator": "Exists"}],
                "terminationGracePeriodSeconds": 30,
            },
        }
        made = head("apps/v1", "DaemonSet", "log-collector", "kube-system")
        made["metadata"] |= {"uid": self.clerk.uid("ds"), "generation": 1}
        made["spec"] = {"selector": {"matchLabels": labels}, "template": template}
        self._daemonset(made)

    def _daemonset(self, obj: Json) -> None:
        meta, template = obj["metadata"], obj["spec"]["template"]
        cpu, memory = requests(template["spec"])
        labels = {**template["metadata"]["labels"], "controller-revision-hash": "7d5c6b9f8"}
        controller = owner("apps/v1", "DaemonSet", meta)
        status = self._running(3)
        count = 0
        for index, machine in enumerate(self._machines):
            machine.cpu -= cpu
            machine.memory -= memory
            machine.slots -= 1
            count += 1
            suffix = letters(index)
            self._pod(
                meta["namespace"], f"{meta['name']}-{suffix}", labels, [controller], template["spec"], machine, status
            )
        obj["status"] = {
            "observedGeneration": 1,
            "currentNumberScheduled": count,
            "desiredNumberScheduled": count,
            "numberReady": count,
            "numberAvailable": count,
            "updatedNumberScheduled": count,
        }
        self._add("daemonsets.apps", obj)

    # --- apps

    def _name(self) -> str:
        base = f"{FIRST[self.clerk.rng.randrange(len(FIRST))]}-{SECOND[self.clerk.rng.randrange(len(SECOND))]}"
        self._names[base] = number = self._names.get(base, 0) + 1
        return base if number == 1 else f"{base}-{number}"

    def _draw(self, pool: Pool, most: int) -> App:
        """An app of at most `most` pods for a pool, its size and appetite drawn."""
        rng = self.clerk.rng
        least, top = self.clerk.one_of([(w, (a, b)) for w, a, b in SIZES])
        limit = max(3, self.wanted // 12)
        replicas = max(1, min(rng.randrange(least, top + 1), most, limit))
        appetite = self.clerk.one_of(APPETITES)
        if replicas * 100 > self.wanted:
            appetite = min(appetite, 100)
        namespace = self._namespaces[min(rng.randrange(len(self._namespaces)), rng.randrange(len(self._namespaces)))]
        cpu = max(5, self._mean_cpu * appetite // 500 * 5)
        memory = max(16, self._mean_memory * self.clerk.one_of(APPETITES[:4]) // 100)
        app = App(self._name(), namespace, replicas, pool, cpu, memory)
        if pool.dedicated:
            app.traits["tolerations"] = [{"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}]
            app.traits["nodeSelector"] = {"dedicated": pool.dedicated}
        self._traits(app)
        return app

    def _traits(self, app: App) -> None:
        """Spreads, anti-affinity, slow starts, long grace periods, priorities."""
        clerk, selector = self.clerk, {"matchLabels": {"app": app.name}}
        term: Json
        dice = clerk.rng.randrange(100)
        if dice < 14 and app.replicas > 1:
            app.spread = "zones"
            app.traits["topologySpreadConstraints"] = [spread(ZONE, "DoNotSchedule", selector)]
        elif dice < 34:
            app.traits["topologySpreadConstraints"] = [spread(ZONE, "ScheduleAnyway", selector)]
        elif dice < 42 and 1 < app.replicas <= len(app.pool.machines) // 3:
            app.spread = "hosts"
            term = {"topologyKey": HOST, "labelSelector": selector}
            app.traits["affinity"] = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
        elif dice < 52:
            term = {"weight": 100, "podAffinityTerm": {"topologyKey": HOST, "labelSelector": selector}}
            app.traits["affinity"] = {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [term]}}
        if clerk.percent(5):
            app.traits["terminationGracePeriodSeconds"] = (300, 600, 900, 1800)[clerk.rng.randrange(4)]
            app.traits["_sleep"] = (30, 60, 120, 300)[clerk.rng.randrange(4)]
        if clerk.percent(6):
            app.traits["_delay"] = (45, 60, 90, 120, 240)[clerk.rng.randrange(5)]
        if clerk.percent(4):
            app.traits["priorityClassName"] = "business-critical"
            app.traits["priority"] = 100_000

    def _app(self, app: App, budgets: tuple[Json, ...] | None = None) -> None:
        """Place an app and write its objects; what does not fit is left out."""
        machines = self._place(app)
        if not machines:
            if app.cpu <= 5 and app.memory <= 16:
                raise UsageError("the nodes are full", hint="choose more nodes, or fewer pods")
            small = App(app.name, app.namespace, app.replicas, app.pool, 5, 16, traits=app.traits)
            small.traits.pop("topologySpreadConstraints", None)
            small.traits.pop("affinity", None)
            self._app(small, budgets)
            return
        app.replicas = len(machines)
        template = {"metadata": {"labels": {"app": app.name}}, "spec": self._spec(app)}
        if app.volume:
            self._statefulset(app, template, machines)
        else:
            self._deployment(app, template, None, machines)
        if self.clerk.percent(70) or app.volume:
            self._service(app)
        if budgets is None and app.replicas > 1 and self.clerk.percent(45):
            budgets = self._bearable(app)
        for index, spec in enumerate(budgets or ()):
            self._budget(app, spec, index)

    def _bearable(self, app: App) -> tuple[Json, ...]:
        """A budget under which even all pods of the app can be moved, some at a time, within a drain's 15 minutes."""
        each = app.traits.get("_sleep", 0) + app.traits.get("_delay", 2) + (70 if app.volume else 30)
        for spec in (self.clerk.one_of(BUDGETS), {"maxUnavailable": "25%"}, {"maxUnavailable": "50%"}):
            if spec.get("minAvailable") == -1:
                spec = {"minAvailable": app.replicas - 1}
            if -(-app.replicas // allowed(spec, app.replicas)) * each <= 600:
                return (spec,)
        return ()

    def _spec(self, app: App) -> Json:
        traits = {k: v for k, v in app.traits.items() if not k.startswith("_")}
        main = container("main", f"registry.example.com/{app.namespace}/{app.name}:1.0", app.cpu, app.memory)
        main["readinessProbe"] = {"initialDelaySeconds": app.traits.get("_delay", 2), "periodSeconds": 10}
        if "_sleep" in app.traits:
            main["lifecycle"] = {"preStop": {"sleep": {"seconds": app.traits["_sleep"]}}}
        return {"containers": [main], "terminationGracePeriodSeconds": 30, **traits}

    def _place(self, app: App) -> list[Machine]:
        """Machines for as many of the app's pods as fit, their room taken."""
        found: list[Machine] = []
        lists = app.pool.by_zone if app.spread == "zones" or app.volume else [app.pool.machines]
        lists = [machines for machines in lists if machines]
        at = [self.clerk.rng.randrange(len(machines)) for machines in lists]
        walked = [0] * len(lists)
        for index in range(app.replicas):
            turn = index % len(lists)
            machines = lists[turn]
            limit = len(machines) if app.spread != "hosts" else len(machines) - walked[turn]
            for _ in range(limit):
                machine = machines[at[turn]]
                at[turn] = (at[turn] + 1) % len(machines)
                walked[turn] += 1
                if machine.cpu >= app.cpu and machine.memory >= app.memory and machine.slots > 0:
                    if app.volume and machine.volumes <= 0:
                        continue
                    break
            else:
                break
            machine.cpu -= app.cpu
            machine.memory -= app.memory
            machine.slots -= 1
            machine.volumes -= app.volume
            found.append(machine)
        return found

    def _blocking(self, index: int) -> None:
        """An app whose budgets block every drain, in the largest group."""
        replicas, budgets = BLOCKING[index % len(BLOCKING)]
        app = self._draw(self.pools[0], replicas)
        app.replicas, app.spread = min(replicas, len(self.pools[0].machines)), "hosts" if replicas > 1 else "any"
        app.traits = {"nodeSelector": {"eks.amazonaws.com/nodegroup": self.pools[0].name}}
        self._app(app, budgets)

    def _fill_dedicated(self, pool: Pool) -> None:
        """StatefulSets with volumes for `data`, Jobs and workers for `batch`: their part of the pods."""
        share = self._left() * len(pool.machines) // max(1, len(self._machines))
        while share > 0 and self._left() > 0:
            before = self._left()
            app = self._draw(pool, min(share, self._left()))
            if pool.name == "data":
                app.volume = self.clerk.percent(60)
                app.replicas = min(app.replicas, 15) if app.volume else app.replicas
                self._app(app)
            elif self.clerk.percent(30):
                self._job(app)
            else:
                self._app(app)
            if before == self._left():
                return
            share -= before - self._left()

    # --- kinds of workloads

    def _deployment(
        self, app: App, template: Json, obj: Json | None = None, machines: list[Machine] | None = None
    ) -> None:
        labels = {**template["metadata"]["labels"], HASHED: f"{letters(self.clerk.rng.randrange(1 << 30))}"}
        machines = self._place(app) if machines is None else machines
        note = {"annotations": {REVISION: "1"}}
        selector = {"matchLabels": template["metadata"]["labels"]}
        if obj is None:
            obj = head("apps/v1", "Deployment", app.name, app.namespace)
            obj["metadata"] |= {"uid": self.clerk.uid("dep"), "generation": 1, "labels": {"app": app.name}}
            rolling = {"maxUnavailable": "25%", "maxSurge": "25%"}
            obj["spec"] = {"strategy": {"type": "RollingUpdate", "rollingUpdate": rolling}, "selector": selector}
        obj["metadata"] = {**obj["metadata"], **note}
        obj["spec"] = {**obj["spec"], "replicas": len(machines), "template": template}
        obj["status"] = counts(len(machines))
        self._add("deployments.apps", obj)
        rs = head("apps/v1", "ReplicaSet", f"{app.name}-{labels[HASHED]}", app.namespace)
        rs["metadata"] |= {
            "uid": self.clerk.uid("rs"),
            "generation": 1,
            "labels": labels,
            "ownerReferences": [owner("apps/v1", "Deployment", obj["metadata"])],
            **note,
        }
        hashed = {"metadata": {"labels": labels}, "spec": template["spec"]}
        rs["spec"] = {"replicas": len(machines), "selector": {"matchLabels": labels}, "template": hashed}
        rs["status"] = counts(len(machines))
        self._add("replicasets.apps", rs)
        owners = [owner("apps/v1", "ReplicaSet", rs["metadata"])]
        status = self._running(app.traits.get("_delay", 2))
        for index, machine in enumerate(machines):
            name = f"{rs['metadata']['name']}-{letters(index)}"
            self._pod(app.namespace, name, labels, owners, template["spec"], machine, status)

    def _statefulset(self, app: App, template: Json, machines: list[Machine]) -> None:
        obj = head("apps/v1", "StatefulSet", app.name, app.namespace)
        obj["metadata"] |= {"uid": self.clerk.uid("sts"), "generation": 1, "labels": {"app": app.name}}
        revision = f"{app.name}-{letters(self.clerk.rng.randrange(1 << 30))}"
        claim = {
            "metadata": {"name": "data"},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "gp3",
                "resources": {"requests": {"storage": "50Gi"}},
            },
        }
        # ordered pods with volumes in zones and a hard spread wait for each other for ever once two are away
        ordered = not self.clerk.percent(30) and app.spread != "zones"
        obj["spec"] = {
            "replicas": len(machines),
            "serviceName": app.name,
            "podManagementPolicy": "OrderedReady" if ordered else "Parallel",
            "selector": {"matchLabels": {"app": app.name}},
            "template": template,
            "volumeClaimTemplates": [claim],
        }
        obj["status"] = {**counts(len(machines)), "currentRevision": revision, "updateRevision": revision}
        self._add("statefulsets.apps", obj)
        owners = [owner("apps/v1", "StatefulSet", obj["metadata"])]
        status = self._running(8)
        for index, machine in enumerate(machines):
            name = f"{app.name}-{index}"
            self._volume(app.namespace, f"data-{name}", machine)
            labels = {
                "app": app.name,
                "controller-revision-hash": revision,
                "statefulset.kubernetes.io/pod-name": name,
                "apps.kubernetes.io/pod-index": str(index),
            }
            volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": f"data-{name}"}}]
            spec = {**template["spec"], "volumes": volumes, "hostname": name, "subdomain": app.name}
            self._pod(app.namespace, name, labels, owners, spec, machine, status)

    def _volume(self, namespace: str, claim: str, machine: Machine) -> None:
        uid = self.clerk.uid("pvc")
        zone = machine.node["metadata"]["labels"][ZONE]
        pvc = head("v1", "PersistentVolumeClaim", claim, namespace)
        # Without the annotation the scheduler takes the claim as not bound yet.
        pvc["metadata"] |= {"uid": uid, "annotations": {"pv.kubernetes.io/bind-completed": "yes"}}
        shared = {"accessModes": ["ReadWriteOnce"], "storageClassName": "gp3"}
        pvc["spec"] = {**shared, "volumeName": f"pvc-{uid}", "resources": {"requests": {"storage": "50Gi"}}}
        pvc["status"] = {"phase": "Bound"}
        self._add("persistentvolumeclaims", pvc)
        volume = head("v1", "PersistentVolume", f"pvc-{uid}")
        volume["metadata"] |= {"uid": f"pv-{uid}"}
        volume["spec"] = {
            **shared,
            "capacity": {"storage": "50Gi"},
            "claimRef": {"kind": "PersistentVolumeClaim", "namespace": namespace, "name": claim, "uid": uid},
            "csi": {"driver": "ebs.csi.aws.com", "volumeHandle": f"vol-{uid[4:]:0>17}"},
            "persistentVolumeReclaimPolicy": "Delete",
            "nodeAffinity": {
                "required": {
                    "nodeSelectorTerms": [{"matchExpressions": [{"key": ZONE, "operator": "In", "values": [zone]}]}]
                }
            },
        }
        volume["status"] = {"phase": "Bound"}
        self._add("persistentvolumes", volume)

    def _job(self, app: App) -> None:
        app.replicas = min(app.replicas, 6)
        app.traits.pop("_delay", None)
        machines = self._place(app)
        if not machines:
            return
        obj = head("batch/v1", "Job", app.name, app.namespace)
        labels = {"app": app.name, "batch.kubernetes.io/job-name": app.name, "job-name": app.name}
        obj["metadata"] |= {"uid": self.clerk.uid("job"), "generation": 1, "labels": {"app": app.name}}
        spec = {**self._spec(app), "restartPolicy": "Never"}
        spec["containers"] = [{k: v for k, v in c.items() if k != "readinessProbe"} for c in spec["containers"]]
        count = len(machines)
        selector = {"matchLabels": {"batch.kubernetes.io/job-name": app.name}}
        obj["spec"] = {"parallelism": count, "completions": count, "backoffLimit": 6, "selector": selector}
        obj["spec"]["template"] = {"metadata": {"labels": labels}, "spec": spec}
        obj["status"] = {"active": count, "startTime": rfc3339(self.clerk.now - 600)}
        self._add("jobs.batch", obj)
        owners = [owner("batch/v1", "Job", obj["metadata"])]
        status = self._running(2)
        for index, machine in enumerate(machines):
            self._pod(app.namespace, f"{app.name}-{letters(index)}", labels, owners, spec, machine, status)

    def _bare(self) -> None:
        """A pod that nobody will make again."""
        if self._left() <= 1:
            return
        app = self._draw(self.general, 1)
        app.traits, app.name = {}, f"by-hand-{self.clerk.uid('bare')[-5:]}"
        for machine in self._place(app):
            labels = {"app": app.name, "made": "by-hand"}
            self._pod(app.namespace, app.name, labels, None, self._spec(app), machine, self._running(2))

    def _service(self, app: App) -> None:
        service = head("v1", "Service", app.name, app.namespace)
        service["metadata"] |= {"uid": self.clerk.uid("svc")}
        service["spec"] = {
            "selector": {"app": app.name},
            "ports": [{"port": 80, "protocol": "TCP", "targetPort": 8080}],
        }
        self._add("services", service)

    def _budget(self, app: App, spec: Json, index: int) -> None:
        made = head(
            "policy/v1", "PodDisruptionBudget", app.name if not index else f"{app.name}-{index + 1}", app.namespace
        )
        made["metadata"] |= {"uid": self.clerk.uid("pdb"), "generation": 1}
        made["spec"] = {**spec, "selector": {"matchLabels": {"app": app.name}}}
        self._add("poddisruptionbudgets.policy", made)

    # --- pods

    def _running(self, took: int) -> Json:
        """The status that pods of one app share: Ready `took` seconds after they were bound."""
        bound = self.clerk.now - 86_400 - self.clerk.rng.randrange(14 * 86_400)
        start, ready = rfc3339(bound), rfc3339(bound + 3 + took)
        return {
            "phase": "Running",
            "qosClass": "Burstable",
            "startTime": start,
            "conditions": [
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": start},
                {"type": "Initialized", "status": "True", "lastTransitionTime": start},
                {"type": "ContainersReady", "status": "True", "lastTransitionTime": ready},
                {"type": "Ready", "status": "True", "lastTransitionTime": ready},
            ],
        }

    def _pod(
        self,
        namespace: str,
        name: str,
        labels: Json,
        owners: list[Json] | None,
        spec: Json,
        machine: Machine,
        status: Json,
    ) -> None:
        meta: Json = {
            "name": name,
            "namespace": namespace,
            "uid": self.clerk.uid("pod"),
            "creationTimestamp": status["startTime"],
            "labels": labels,
        }
        if owners is not None:
            meta["ownerReferences"] = owners
        self.objects["pods"].append(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": meta,
                "spec": {**spec, "nodeName": machine.name},
                "status": status,
            }
        )
