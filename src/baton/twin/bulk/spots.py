"""What a DaemonSet knows of each node, compiled: its pods, whether to look, old pods, and whom taints chase."""

from __future__ import annotations

from typing import Any

from baton.logic.scheduling.accelerate import jit
from baton.twin.bulk.layout import (
    BIT_ADDED,
    BIT_READY,
    BIT_REMOVED,
    CHASED,
    D_LOOK_FIRST,
    D_LOOK_LAST,
    D_OLD,
    D_OLD_UNREADY,
    D_RENEW,
    D_REVISION,
    G_DAEMON,
    G_DIRTY,
    KEPT,
    N_ASKED,
    N_CHASES,
    N_HEAD,
    N_PLACE,
    NO_OTHERS,
    NO_PLACE,
    NODE,
    P_GROUP,
    P_NEXT,
    P_NODE,
    P_PIN,
    P_REVISION,
    P_SPOT_NEXT,
    SPOT_LIST,
    SPOT_LOOK_NEXT,
    SPOT_LOOKED,
    SPOT_NEXT,
    SPOT_OLD,
    SPOT_PODS,
    SPOT_PREV,
    SPOT_RULE,
    STAYS,
)
from baton.twin.bulk.queues import (
    enqueue_group,
    note,
    push_work,
)
from baton.twin.bulk.views import (
    daemons_of,
    groups_of,
    nodes_of,
    pods_of,
    spots_of,
)


@jit
def spot_at(a: Any, group: int, node: int) -> int:
    """The row of what a DaemonSet knows of a node."""
    return int(node * daemons_of(a).shape[0] + groups_of(a)[group, G_DAEMON] - 1)


@jit
def rolls(a: Any, group: int) -> bool:
    """Whether the set has pods of another revision."""
    d = daemons_of(a)[groups_of(a)[group, G_DAEMON] - 1]
    return bool(d[D_OLD] + d[D_OLD_UNREADY] > 0)


@jit
def add_look(a: Any, group: int, node: int) -> None:
    """The next sync is to look at the node."""
    d, spots = daemons_of(a)[groups_of(a)[group, G_DAEMON] - 1], spots_of(a)
    spot = spot_at(a, group, node)
    if spots[spot, SPOT_LOOKED] != 0:
        return
    spots[spot, SPOT_LOOKED], spots[spot, SPOT_LOOK_NEXT] = 1, -1
    if d[D_LOOK_LAST] >= 0:
        spots[spot_at(a, group, d[D_LOOK_LAST]), SPOT_LOOK_NEXT] = node
    else:
        d[D_LOOK_FIRST] = node
    d[D_LOOK_LAST] = node


@jit
def look_at(a: Any, group: int, node: int) -> None:
    """DaemonSetController._look_at."""
    add_look(a, group, node)
    enqueue_group(a, group)


@jit
def _come(a: Any, pod: int, spot: int) -> None:
    """Behind the set's other pods of the node."""
    spots, pods = spots_of(a), pods_of(a)
    pods[pod, P_SPOT_NEXT] = -1
    last = spots[spot, SPOT_PODS]
    if last < 0:
        spots[spot, SPOT_PODS] = pod
        return
    while pods[last, P_SPOT_NEXT] >= 0:
        last = pods[last, P_SPOT_NEXT]
    pods[last, P_SPOT_NEXT] = pod


@jit
def _go(a: Any, pod: int, spot: int) -> None:
    """Out of the set's pods of the node."""
    spots, pods = spots_of(a), pods_of(a)
    after = pods[pod, P_SPOT_NEXT]
    before = spots[spot, SPOT_PODS]
    if before == pod:
        spots[spot, SPOT_PODS] = after
        return
    while pods[before, P_SPOT_NEXT] != pod:
        before = pods[before, P_SPOT_NEXT]
    pods[before, P_SPOT_NEXT] = after


@jit
def daemon_changed(a: Any, pod: int, group: int, bits: int) -> None:
    """DaemonSetController.on_pod."""
    groups_of(a)[group, G_DIRTY] = 1
    quiet = not rolls(a, group)
    if bits == BIT_READY and quiet:
        return
    p = pods_of(a)[pod]
    node = p[P_PIN] if p[P_PIN] >= 0 else p[P_NODE]
    if bits == BIT_ADDED:
        _come(a, pod, spot_at(a, group, node))
        if quiet and daemons_of(a)[groups_of(a)[group, G_DAEMON] - 1, D_RENEW] == 0:
            return
    elif bits == BIT_REMOVED:
        _go(a, pod, spot_at(a, group, node))
    look_at(a, group, node)


@jit
def list_old(a: Any, group: int, node: int, which: int, pod: int) -> None:
    """The node's pod is of another revision; `which` list: D_OLD or D_OLD_UNREADY."""
    d, spots = daemons_of(a)[groups_of(a)[group, G_DAEMON] - 1], spots_of(a)
    spot, last = spot_at(a, group, node), d[which + 2]
    spots[spot, SPOT_LIST], spots[spot, SPOT_OLD] = which, pod
    spots[spot, SPOT_PREV], spots[spot, SPOT_NEXT] = last, -1
    if last >= 0:
        spots[spot_at(a, group, last), SPOT_NEXT] = node
    else:
        d[which + 1] = node
    d[which + 2] = node
    d[which] += 1


@jit
def unlist_old(a: Any, group: int, node: int) -> None:
    """The node is in neither list any more."""
    d, spots = daemons_of(a)[groups_of(a)[group, G_DAEMON] - 1], spots_of(a)
    spot = spot_at(a, group, node)
    which = spots[spot, SPOT_LIST]
    if which == 0:
        return
    before, after = spots[spot, SPOT_PREV], spots[spot, SPOT_NEXT]
    if before >= 0:
        spots[spot_at(a, group, before), SPOT_NEXT] = after
    else:
        d[which + 1] = after
    if after >= 0:
        spots[spot_at(a, group, after), SPOT_PREV] = before
    else:
        d[which + 2] = before
    d[which] -= 1
    spots[spot, SPOT_LIST], spots[spot, SPOT_OLD] = 0, -1


@jit
def _all_stay(a: Any, node: int) -> bool:
    """Whether NodeController.sync would find nobody to chase from a node with NoExecute taints."""
    if nodes_of(a)[node, N_CHASES] != NO_OTHERS:
        return False
    pod = nodes_of(a)[node, N_HEAD]
    while pod >= 0:
        group = pods_of(a)[pod, P_GROUP]
        daemon = groups_of(a)[group, G_DAEMON]
        if daemon == 0 or pods_of(a)[pod, P_REVISION] != daemons_of(a)[daemon - 1, D_REVISION]:
            return False
        if spots_of(a)[spot_at(a, group, node), SPOT_RULE] & STAYS == 0:
            return False
        pod = pods_of(a)[pod, P_NEXT]
    return True


@jit
def chase(a: Any, node: int) -> None:
    """NodeController.on_pod for a node with NoExecute taints: a place in the queue will do where nobody minds them."""
    n = nodes_of(a)[node]
    if not _all_stay(a, node):
        note(a, CHASED, node, 0)
    elif n[N_ASKED] == 0 and n[N_PLACE] == NO_PLACE:
        n[N_PLACE] = KEPT
        push_work(a, NODE, node)
