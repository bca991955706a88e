"""One pass of a DaemonSet whose pods are rows, compiled: put nodes right, and roll old pods."""

from __future__ import annotations

from typing import Any

from baton.logic.scheduling.accelerate import jit
from baton.twin.bulk.budgets import share_of
from baton.twin.bulk.layout import (
    D_LOOK_FIRST,
    D_LOOK_LAST,
    D_MISPLACED,
    D_MOST,
    D_MOST_SHARE,
    D_NODES,
    D_OLD,
    D_OLD_FIRST,
    D_OLD_UNREADY,
    D_OLD_UNREADY_FIRST,
    D_ON_DELETE,
    D_REVISION,
    D_SURGE,
    D_SURGE_SHARE,
    G_DAEMON,
    G_DESIRED,
    G_DIRTY,
    G_READY,
    GOES_ON,
    GONE,
    P_FLAGS,
    P_REVISION,
    P_SPOT_NEXT,
    READY,
    RUNS_THERE,
    SPOT_LOOK_NEXT,
    SPOT_LOOKED,
    SPOT_MISPLACED,
    SPOT_OLD,
    SPOT_PODS,
    SPOT_RULE,
    SPOT_WANTED,
    TERMINATING,
)
from baton.twin.bulk.life import (
    ask_to_go,
    make,
)
from baton.twin.bulk.queues import (
    enqueue_group,
)
from baton.twin.bulk.spots import (
    add_look,
    list_old,
    rolls,
    spot_at,
    unlist_old,
)
from baton.twin.bulk.views import (
    daemons_of,
    groups_of,
    lists_of,
    pods_of,
    spots_of,
)


@jit
def sync_daemons(a: Any, group: int) -> None:
    """DaemonSetController.sync."""
    g = groups_of(a)[group]
    d, spots = daemons_of(a)[g[G_DAEMON] - 1], spots_of(a)
    node = d[D_LOOK_FIRST]
    d[D_LOOK_FIRST] = d[D_LOOK_LAST] = -1
    while node >= 0:
        spot = spot_at(a, group, node)
        after = spots[spot, SPOT_LOOK_NEXT]
        spots[spot, SPOT_LOOKED] = 0
        _place(a, group, node)
        node = after
    g[G_DESIRED], g[G_DIRTY] = d[D_NODES], 1
    if rolls(a, group):
        _roll(a, group)


@jit
def _place(a: Any, group: int, node: int) -> None:
    """DaemonSetController._place."""
    spot = spots_of(a)[spot_at(a, group, node)]
    d = daemons_of(a)[groups_of(a)[group, G_DAEMON] - 1]
    runs = spot[SPOT_RULE] & RUNS_THERE != 0
    d[D_NODES] += int(runs) - spot[SPOT_WANTED]
    spot[SPOT_WANTED] = int(runs)
    if runs and spot[SPOT_PODS] < 0:
        make(a, group, node, -1)
        return
    keeps = runs or spot[SPOT_RULE] & GOES_ON != 0
    kept = -1
    pod = spot[SPOT_PODS]
    while pod >= 0:
        after = pods_of(a)[pod, P_SPOT_NEXT]
        if pods_of(a)[pod, P_FLAGS] & TERMINATING == 0:
            first = kept < 0 and keeps
            if first:
                kept = pod
            elif runs or not keeps:
                ask_to_go(a, pod, -1)
        pod = after
    _sort(a, group, node, kept, runs)


@jit
def _sort(a: Any, group: int, node: int, pod: int, runs: bool) -> None:
    """DaemonSetController._sort."""
    spot = spots_of(a)[spot_at(a, group, node)]
    d = daemons_of(a)[groups_of(a)[group, G_DAEMON] - 1]
    unlist_old(a, group, node)
    if spot[SPOT_MISPLACED] >= 0:
        spot[SPOT_MISPLACED] = -1
        d[D_MISPLACED] -= 1
    if pod < 0 or pods_of(a)[pod, P_FLAGS] & GONE:
        return
    if not runs:
        spot[SPOT_MISPLACED] = pod
        d[D_MISPLACED] += 1
    elif pods_of(a)[pod, P_REVISION] != d[D_REVISION]:
        list_old(a, group, node, D_OLD if pods_of(a)[pod, P_FLAGS] & READY else D_OLD_UNREADY, pod)


@jit
def misplaced_ready(a: Any, group: int) -> Any:
    """Ready pods where the set should not run."""
    daemon, many = groups_of(a)[group, G_DAEMON] - 1, daemons_of(a).shape[0]
    found = 0
    if daemons_of(a)[daemon, D_MISPLACED] > 0:
        spot = daemon
        while spot < spots_of(a).shape[0]:  # a range with a step that is not known could raise
            pod = spots_of(a)[spot, SPOT_MISPLACED]
            if pod >= 0 and pods_of(a)[pod, P_FLAGS] & READY:
                found += 1
            spot += many
    return found


@jit
def _most(a: Any, group: int) -> int:
    """How many pods may be away at once."""
    g = groups_of(a)[group]
    d = daemons_of(a)[g[G_DAEMON] - 1]
    most = share_of(d[D_MOST], g[G_DESIRED]) if d[D_MOST_SHARE] != 0 else d[D_MOST]
    if most == 0:
        most = share_of(d[D_SURGE], g[G_DESIRED]) if d[D_SURGE_SHARE] != 0 else d[D_SURGE]
    return int(most) if most != 0 else 1


@jit
def _roll(a: Any, group: int) -> None:
    """DaemonSetController._roll."""
    g = groups_of(a)[group]
    d, spots = daemons_of(a)[g[G_DAEMON] - 1], spots_of(a)
    if d[D_ON_DELETE] != 0:
        return
    most = _most(a, group)
    away = g[G_DESIRED] - (g[G_READY] - misplaced_ready(a, group))
    while d[D_OLD_UNREADY] > 0:
        node = d[D_OLD_UNREADY_FIRST]
        pod = spots[spot_at(a, group, node), SPOT_OLD]
        unlist_old(a, group, node)
        ask_to_go(a, pod, -1)
    while away < most and d[D_OLD] > 0:
        away += 1
        node = d[D_OLD_FIRST]
        pod = spots[spot_at(a, group, node), SPOT_OLD]
        unlist_old(a, group, node)
        ask_to_go(a, pod, -1)


@jit
def look_at_spots(a: Any, count: int) -> None:
    """DaemonSets hear of nodes: rows (group, node, its rule there) of `lists`; node -1 asks for a sync alone."""
    news = lists_of(a)
    for i in range(count):
        group, node = news[i, 0], news[i, 1]
        if node >= 0:
            spots_of(a)[spot_at(a, group, node), SPOT_RULE] = news[i, 2]
            add_look(a, group, node)
        enqueue_group(a, group)
