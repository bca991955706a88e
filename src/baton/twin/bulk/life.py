"""A bulk pod from its making to its end: what budgets, controllers, kubelets and the tally do with it, compiled."""

from __future__ import annotations

from typing import Any

from baton.logic.scheduling.accelerate import jit
from baton.twin.bulk.accounts import account, count_at
from baton.twin.bulk.budgets import budgets_join, budgets_leave, budgets_recount
from baton.twin.bulk.layout import (
    BECAME_READY,
    BIT_ADDED,
    BIT_READY,
    BIT_REMOVED,
    BIT_TERMINATING,
    BLOCKED,
    C_LIVE,
    C_ROWS,
    D_REVISION,
    EMPTIED,
    F_DEPTH,
    F_LONGEST,
    F_NOW,
    FRESH,
    G_ACTIVE,
    G_CLASS,
    G_DAEMON,
    G_DESIRED,
    G_DIRTY,
    G_FIRST,
    G_HEAD,
    G_LOWEST,
    G_LOWEST_OF,
    G_MISSING,
    G_NAMESPACE,
    G_NEVER_READY,
    G_ORDERED,
    G_OWN_READY,
    G_PRIORITY,
    G_PRIORITY_AT,
    G_READY,
    G_SEATS,
    G_SHAPE,
    G_TAIL,
    GAVE_UP,
    GONE,
    GT_READY,
    GT_SINCE,
    GT_START,
    GT_STOP,
    LEAVING,
    N_CHASES,
    N_DRAINING,
    N_HEAD,
    N_LEAVING,
    N_PODS,
    N_SLOT,
    N_TAIL,
    N_VERSION,
    NAMES,
    NOBODY,
    P_CLASS,
    P_FLAGS,
    P_GNEXT,
    P_GPREV,
    P_GROUP,
    P_LIMIT,
    P_NAME,
    P_NEXT,
    P_NODE,
    P_ORDER,
    P_PIN,
    P_PREV,
    P_REVISION,
    P_SEAT,
    P_SERIAL,
    P_SHAPE,
    POD_NEWS,
    READY,
    ROOM_LEFT,
    ROOM_TAKEN,
    RUNNING,
    S_AWAY,
    S_KEPT,
    S_MISSED,
    S_MOST_AWAY,
    S_MOST_PENDING,
    S_NAME_DRAW,
    S_ORDER,
    S_OTHER_PENDING,
    S_PARKED,
    S_PENDING,
    S_PLACEMENTS,
    S_POD_SERIAL,
    S_PODS,
    S_TRACK,
    S_TRACKED,
    S_WAIT_SERIAL,
    S_WAITED,
    SEAT_CLASS,
    SEAT_POD,
    SEAT_REACH,
    STARTED,
    STOPPED,
    SURPLUS,
    T_BOUND,
    T_CHANGED,
    T_MADE,
    T_READY_IN,
    T_SINCE,
    T_STARTED,
    T_TOLD,
    TERMINATING,
    UNBLOCKED,
)
from baton.twin.bulk.queues import (
    draw,
    enqueue_group,
    note,
    post,
    push_waiting,
    rounded,
)
from baton.twin.bulk.spots import (
    chase,
    daemon_changed,
)
from baton.twin.bulk.views import (
    classes_of,
    daemons_of,
    group_times_of,
    groups_of,
    name_draws_of,
    names_of,
    namespace_times_of,
    namespaces_of,
    node_at_of,
    nodes_of,
    pods_of,
    priorities_of,
    probe_counts_of,
    probes_of,
    rows_of,
    scalars_of,
    seats_of,
    seconds_of,
    shapes_of,
    spreads_of,
    times_of,
    tracks_of,
)


@jit
def _tally(a: Any, group: int) -> None:
    """Tally._on_count and _shortage."""
    g, s, f = groups_of(a)[group], scalars_of(a), seconds_of(a)
    wanted = g[G_DESIRED]
    if wanted <= 0:
        return
    ready = g[G_READY]
    if ready < g[G_LOWEST]:
        g[G_LOWEST], g[G_LOWEST_OF] = ready, wanted
    if g[G_DAEMON] != 0:
        return
    missing = wanted - ready if ready < wanted else 0
    before = g[G_MISSING]
    if missing == before:
        return
    now = f[F_NOW]
    f[F_DEPTH] += before * before / wanted * (now - group_times_of(a)[group, GT_SINCE])
    if g[G_FIRST] < 0:
        g[G_FIRST] = s[S_MISSED]
        s[S_MISSED] += 1
    s[S_AWAY] += missing - before
    g[G_MISSING] = missing
    group_times_of(a)[group, GT_SINCE] = now
    s[S_MOST_AWAY] = max(s[S_MOST_AWAY], s[S_AWAY])
    if s[S_TRACK]:
        tracks_of(a)[s[S_TRACKED], 0], tracks_of(a)[s[S_TRACKED], 1] = now, s[S_AWAY]
        s[S_TRACKED] += 1


@jit
def _changed(a: Any, pod: int, group: int, bits: int) -> None:
    """The on_pod of DaemonSetController, StatefulSetController or ReplicaSetController."""
    g = groups_of(a)[group]
    if g[G_DAEMON] != 0:
        daemon_changed(a, pod, group, bits)
    elif g[G_SEATS] != 0 or g[G_ACTIVE] != g[G_DESIRED]:
        enqueue_group(a, group)
    else:
        g[G_DIRTY] = 1


@jit
def _bucket(a: Any, code: int) -> int:
    return code % int(names_of(a).shape[0])


@jit
def _name(a: Any, group: int) -> int:
    """Cluster.name_for_pod: five letters as a number, drawn anew while a pod of the group has them."""
    while True:
        code = int(name_draws_of(a)[scalars_of(a)[S_NAME_DRAW]] * NAMES)
        scalars_of(a)[S_NAME_DRAW] += 1
        if names_of(a)[_bucket(a, code)] == 0:
            return code
        pod = groups_of(a)[group, G_HEAD]
        while pod >= 0 and pods_of(a)[pod, P_NAME] != code:
            pod = pods_of(a)[pod, P_GNEXT]
        if pod < 0:
            return code


@jit
def make(a: Any, group: int, pin: int, seat: int) -> int:
    """LeanPods.make, and what its listeners do for a pod without a node; `pin` the node it is made for and `seat` its
    seat in a StatefulSet, or -1."""
    s, f, g = scalars_of(a), seconds_of(a), groups_of(a)[group]
    code = -1
    cls = g[G_CLASS]
    if seat < 0:
        code = _name(a, group)
        bucket = _bucket(a, code)
        names_of(a)[bucket] = min(names_of(a)[bucket] + 1, 255)
    else:
        cls = seats_of(a)[seat, SEAT_CLASS]
        seats_of(a)[seat, SEAT_POD] = s[S_PODS]
    pod = s[S_PODS]
    s[S_PODS] += 1
    s[S_POD_SERIAL] += 1
    p = pods_of(a)[pod]
    p[P_GROUP], p[P_CLASS], p[P_SHAPE], p[P_NODE], p[P_FLAGS], p[P_NAME] = (
        group,
        cls,
        g[G_SHAPE],
        -1,
        FRESH,
        code,
    )
    p[P_PREV], p[P_NEXT], p[P_SERIAL], p[P_LIMIT], p[P_ORDER], p[P_PIN] = -1, -1, s[S_POD_SERIAL], -1, 0, pin
    p[P_SEAT] = seat
    times_of(a)[pod] = 0.0
    times_of(a)[pod, T_MADE] = times_of(a)[pod, T_SINCE] = f[F_NOW]
    p[P_GPREV], p[P_GNEXT] = g[G_TAIL], -1
    if g[G_TAIL] >= 0:
        pods_of(a)[g[G_TAIL], P_GNEXT] = pod
    else:
        g[G_HEAD] = pod
    g[G_TAIL] = pod
    g[G_ACTIVE] += 1
    budgets_join(a, group)
    p[P_REVISION] = daemons_of(a)[g[G_DAEMON] - 1, D_REVISION] if g[G_DAEMON] != 0 else 0
    _changed(a, pod, group, BIT_ADDED)
    s[S_WAIT_SERIAL] += 1
    push_waiting(a, -g[G_PRIORITY], f[F_NOW], s[S_WAIT_SERIAL], pod)
    s[S_PENDING] += 1
    s[S_MOST_PENDING] = max(s[S_MOST_PENDING], s[S_PENDING] + s[S_OTHER_PENDING])
    return int(pod)


@jit
def _off_node(a: Any, pod: int, node: int) -> None:
    """Out of the list of the node's pods."""
    before, after = pods_of(a)[pod, P_PREV], pods_of(a)[pod, P_NEXT]
    if before >= 0:
        pods_of(a)[before, P_NEXT] = after
    else:
        nodes_of(a)[node, N_HEAD] = after
    if after >= 0:
        pods_of(a)[after, P_PREV] = before
    else:
        nodes_of(a)[node, N_TAIL] = before
    nodes_of(a)[node, N_PODS] -= 1
    nodes_of(a)[node, N_VERSION] += 1


@jit
def _out_of_group(a: Any, pod: int, group: int) -> None:
    """Out of the list of the group's pods; the name, or the seat, is free again."""
    g = groups_of(a)[group]
    before, after = pods_of(a)[pod, P_GPREV], pods_of(a)[pod, P_GNEXT]
    if before >= 0:
        pods_of(a)[before, P_GNEXT] = after
    else:
        g[G_HEAD] = after
    if after >= 0:
        pods_of(a)[after, P_GPREV] = before
    else:
        g[G_TAIL] = before
    code, seat = pods_of(a)[pod, P_NAME], pods_of(a)[pod, P_SEAT]
    if code >= 0 and names_of(a)[_bucket(a, code)] < 255:
        names_of(a)[_bucket(a, code)] -= 1
    if seat >= 0:
        seats_of(a)[seat, SEAT_POD] = -1


@jit
def take_out(a: Any, pod: int) -> None:
    """LeanPods.drop of a pod, and its listeners."""
    p, s = pods_of(a)[pod], scalars_of(a)
    group = p[P_GROUP]
    g = groups_of(a)[group]
    flags = p[P_FLAGS] | GONE
    p[P_FLAGS] = flags
    node = p[P_NODE]
    if node >= 0:
        _off_node(a, pod, node)
    if flags & TERMINATING == 0:
        g[G_ACTIVE] -= 1
        if flags & READY:
            g[G_READY] -= 1
    _out_of_group(a, pod, group)
    budgets_leave(a, pod, group)
    _changed(a, pod, group, BIT_REMOVED)
    if node >= 0:
        if nodes_of(a)[node, N_SLOT] >= 0:
            account(a, pod, nodes_of(a)[node, N_SLOT], -1)
        priorities_of(a)[g[G_PRIORITY_AT]] -= 1
        if s[S_PARKED] > 0:
            note(a, ROOM_LEFT, pod, node)
    elif s[S_PARKED] > 0 or s[S_KEPT] != 0:
        note(a, GAVE_UP, pod, 0)
    namespace = g[G_NAMESPACE]
    namespace_times_of(a)[namespace] = seconds_of(a)[F_NOW]
    if namespaces_of(a)[namespace] != 0:
        note(a, POD_NEWS, pod, 0)
    if flags & BLOCKED:
        note(a, UNBLOCKED, pod, node)
    _tally(a, group)
    if node < 0:
        s[S_PENDING] -= 1
        return
    if flags & LEAVING:
        nodes_of(a)[node, N_LEAVING] -= 1
    if nodes_of(a)[node, N_LEAVING] == 0 and nodes_of(a)[node, N_DRAINING] != 0:
        note(a, EMPTIED, node, 0)


@jit
def _mark(a: Any, pod: int, grace: int) -> None:
    """LeanPods.mark of a pod on a node, and its listeners."""
    p = pods_of(a)[pod]
    group = p[P_GROUP]
    g = groups_of(a)[group]
    g[G_ACTIVE] -= 1
    if p[P_FLAGS] & READY:
        g[G_READY] -= 1
    cls = p[P_CLASS]
    slot = nodes_of(a)[p[P_NODE], N_SLOT]
    nodes_of(a)[p[P_NODE], N_VERSION] += 1
    p[P_FLAGS] |= TERMINATING
    p[P_LIMIT] = grace
    times_of(a)[pod, T_TOLD] = seconds_of(a)[F_NOW]
    budgets_recount(a, pod, group)
    _changed(a, pod, group, BIT_TERMINATING)
    t = group_times_of(a)[group]
    wish = draw(a, t[GT_STOP], t[GT_STOP + 1], t[GT_STOP + 2]) + shapes_of(a)[p[P_SHAPE], 1]
    post(a, min(float(grace), wish), STOPPED, pod)
    if slot >= 0:
        at = classes_of(a)[cls, C_ROWS]
        for i in range(at, at + classes_of(a)[cls, C_LIVE]):
            count_at(a, rows_of(a)[i], slot, -1)
    _tally(a, group)


@jit
def ask_to_go(a: Any, pod: int, grace: int) -> None:
    """PodMaker.delete; `grace` -1 takes the pod's own."""
    flags = pods_of(a)[pod, P_FLAGS]
    if flags & GONE:
        return
    if grace < 0:
        grace = int(shapes_of(a)[pods_of(a)[pod, P_SHAPE], 2])
    if pods_of(a)[pod, P_NODE] < 0:
        grace = 0
    if grace <= 0:
        take_out(a, pod)
    elif flags & TERMINATING == 0:
        _mark(a, pod, grace)


@jit
def _running(a: Any, pod: int, ready: bool) -> None:
    """LeanPods.run."""
    p = pods_of(a)[pod]
    now = seconds_of(a)[F_NOW]
    if p[P_FLAGS] & RUNNING == 0:
        p[P_FLAGS] |= RUNNING
        times_of(a)[pod, T_STARTED] = times_of(a)[pod, T_CHANGED] = now
    if ready and p[P_FLAGS] & READY == 0:
        p[P_FLAGS] |= READY
        times_of(a)[pod, T_CHANGED] = now
        group = p[P_GROUP]
        groups_of(a)[group, G_READY] += 1
        budgets_recount(a, pod, group)
        _changed(a, pod, group, BIT_READY)
        _tally(a, group)


@jit
def fire(a: Any, kind: int, pod: int) -> None:
    """Kubelets._started, _became_ready and _stopped."""
    flags = pods_of(a)[pod, P_FLAGS]
    if flags & GONE:
        return
    if kind == STOPPED:
        take_out(a, pod)
    elif flags & TERMINATING == 0:
        if kind == BECAME_READY:
            _running(a, pod, True)
            return
        ready = times_of(a)[pod, T_READY_IN]
        _running(a, pod, ready == 0.0)
        if ready > 0.0:
            post(a, ready, BECAME_READY, pod)


@jit
def start_containers(a: Any, pod: int) -> None:
    """Kubelets._start and _readiness."""
    p = pods_of(a)[pod]
    shape, t, g = shapes_of(a)[p[P_SHAPE]], group_times_of(a)[p[P_GROUP]], groups_of(a)[p[P_GROUP]]
    delay = draw(a, t[GT_START], t[GT_START + 1], t[GT_START + 2])
    for _ in range(int(shape[0])):
        delay += draw(a, spreads_of(a)[0, 0], spreads_of(a)[0, 1], spreads_of(a)[0, 2])
    if p[P_SEAT] >= 0 and seats_of(a)[p[P_SEAT], SEAT_REACH] >= 0:
        delay += draw(a, spreads_of(a)[2, 0], spreads_of(a)[2, 1], spreads_of(a)[2, 2])
    ready = -1.0
    if g[G_NEVER_READY] == 0:
        if g[G_OWN_READY] != 0:
            ready = draw(a, t[GT_READY], t[GT_READY + 1], t[GT_READY + 2])
        else:
            slowest = 0.0
            at = int(shape[4])
            for c in range(at, at + int(shape[3])):
                wait = 0.0
                for i in range(probe_counts_of(a)[c, 0], probe_counts_of(a)[c, 0] + probe_counts_of(a)[c, 1]):
                    share = draw(a, spreads_of(a)[1, 0], spreads_of(a)[1, 1], spreads_of(a)[1, 2])
                    wait += probes_of(a)[i, 0] + probes_of(a)[i, 1] * share
                slowest = max(slowest, wait)
            ready = rounded(slowest)
    times_of(a)[pod, T_READY_IN] = ready
    post(a, delay, STARTED, pod)


@jit
def put_on(a: Any, pod: int, slot: int) -> None:
    """LeanPods.bind, and its listeners."""
    p, s, f = pods_of(a)[pod], scalars_of(a), seconds_of(a)
    node = node_at_of(a)[slot]
    s[S_PLACEMENTS] += 1
    p[P_NODE] = node
    s[S_ORDER] += 1
    p[P_ORDER] = s[S_ORDER]
    times_of(a)[pod, T_BOUND] = f[F_NOW]
    last = nodes_of(a)[node, N_TAIL]
    p[P_PREV], p[P_NEXT] = last, -1
    if last >= 0:
        pods_of(a)[last, P_NEXT] = pod
    else:
        nodes_of(a)[node, N_HEAD] = pod
    nodes_of(a)[node, N_TAIL] = pod
    nodes_of(a)[node, N_PODS] += 1
    nodes_of(a)[node, N_VERSION] += 1
    start_containers(a, pod)
    if nodes_of(a)[node, N_CHASES] != NOBODY:
        chase(a, node)
    account(a, pod, slot, 1)
    priorities_of(a)[groups_of(a)[p[P_GROUP], G_PRIORITY_AT]] += 1
    if s[S_PARKED] > 0:
        note(a, ROOM_TAKEN, pod, 0)
    waited = f[F_NOW] - times_of(a)[pod, T_SINCE]
    s[S_PENDING] -= 1
    if waited >= 1.0:
        s[S_WAITED] += 1
    f[F_LONGEST] = max(f[F_LONGEST], waited)


@jit
def fill_group(a: Any, group: int) -> None:
    """ReplicaSetController.sync."""
    missing = groups_of(a)[group, G_DESIRED] - groups_of(a)[group, G_ACTIVE]
    if missing < 0:
        note(a, SURPLUS, group, 0)
    for _ in range(missing):
        make(a, group, -1, -1)
    groups_of(a)[group, G_DIRTY] = 1


@jit
def fill_seats(a: Any, group: int) -> None:
    """StatefulSetController.sync of a set that does not change."""
    g = groups_of(a)[group]
    if g[G_READY] < g[G_DESIRED]:
        first = g[G_SEATS] - 1
        for seat in range(first, first + g[G_DESIRED]):
            pod = seats_of(a)[seat, SEAT_POD]
            if pod < 0:
                make(a, group, -1, seat)
            elif pods_of(a)[pod, P_FLAGS] & (READY | TERMINATING) == READY:
                continue
            if g[G_ORDERED] != 0:
                break
    g[G_DIRTY] = 1
