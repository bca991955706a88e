"""kube-scheduler 1.34.1's decisions, reproduced: which nodes a pod can go to, why not the others, which is best.

    state = ClusterState()
    state.add_node(node); state.update_node(node); state.remove_node(node or name)
    state.add_pod(pod)                      # a pod dict with spec.nodeName; the same name again replaces it
    state.remove_pod(pod or (namespace, name))
    state.set_object(resource, obj); state.remove_object(resource, namespace, name)
                                            # services, replicasets.apps, statefulsets.apps, replicationcontrollers,
                                            # namespaces, persistentvolumes, persistentvolumeclaims,
                                            # storageclasses.storage.k8s.io, csinodes.storage.k8s.io,
                                            # poddisruptionbudgets.policy; other resources are ignored

    scheduler = Scheduler(state, sample=True)           # sample: look for as many nodes as upstream would, not all
    decision = scheduler.schedule(pod, rng)             # -> Decision(node | None, reasons {text: nodes}, prefilter)
    scheduler.explain(pod)                              # -> Explanation: every node, reasons, scores, totals, best
    scheduler.preempt(pod)                              # -> Preemption(candidates, best, rejected, note) | None

Objects are dicts as the API server shows them; they are kept by reference and must not be changed afterwards: hand in
a new one instead. Deciding does not place the pod: the caller adds it, with spec.nodeName, to the state. Pods made from
one template should share the template's parts (containers, labels, affinity ...) by identity: that makes them cheap.

This package knows nothing of time, queues or evictions, and talks to nobody.
"""

from baton.logic.scheduling.preemption import Preemption, Victims
from baton.logic.scheduling.scheduler import Decision, Explanation, Scheduler
from baton.logic.scheduling.state import RESOURCES, ClusterState

__all__ = ["RESOURCES", "ClusterState", "Decision", "Explanation", "Preemption", "Scheduler", "Victims"]
