"""What Python calls of the compiled part: run what is due, and the few things that it asks for in between.

Every compiled function says the same as the Python it stands for (named in its docstring), in the same order, with the
same draws of chance; tests/twin/test_twin_bulk.py holds whole rehearsals of both against each other. Nothing here is
loaded unless numba is installed.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from baton.logic.scheduling.accelerate import jit
from baton.logic.scheduling.addressed import at
from baton.logic.scheduling.compiled import place
from baton.logic.scheduling.place import H_EXTRA, H_MASKS, HEADER
from baton.twin.bulk.accounts import account, count_at
from baton.twin.bulk.budgets import count_budget
from baton.twin.bulk.daemons import (
    look_at_spots,
    misplaced_ready,
    sync_daemons,
)
from baton.twin.bulk.layout import (
    ANSWERED,
    ARRAYS,
    B_ALLOWED,
    B_ALWAYS,
    B_COUNTED,
    B_DESIRED,
    B_DIRTY,
    B_HEALTHY,
    B_PENDING,
    B_STALE,
    BEGIN_DRAIN,
    BIG,
    BIND,
    BLOCKED,
    C_AMONG,
    C_DOMAIN_COUNT,
    C_DOMAINS,
    C_HAVE,
    C_LENGTH,
    C_LINES,
    C_PLAN,
    C_VERSION,
    C_WIDTH,
    CHASE,
    CLAIMED,
    COME_BACK,
    COUNT_ROW,
    COUNTED,
    DELETE,
    DONE,
    DROP,
    DROP_NODE,
    E_BUDGET,
    EVICT,
    F_NEXT_TIME,
    F_NOW,
    FRESH,
    G_BUDGET_AT,
    G_BUDGETS,
    G_DAEMON,
    G_EVICTED,
    G_HEAD,
    G_PENDING,
    G_SEATS,
    G_SHAPE,
    GONE,
    GROUP,
    GROW,
    IDLE,
    LEAVE_NODE,
    LEAVING,
    LIST_NODE,
    LOOK_AT_SPOTS,
    N_DRAINING,
    N_HEAD,
    N_LEAVING,
    N_PLACE,
    N_SLOT,
    NO_PLACE,
    NODE,
    NOTES,
    OTHER_WAITER,
    OTHER_WORK,
    P_CLASS,
    P_FLAGS,
    P_GNEXT,
    P_GROUP,
    P_NEXT,
    P_NODE,
    P_ORDER,
    P_PIN,
    P_SEAT,
    PLAN,
    READY,
    RUN,
    RUNNING,
    RUNS,
    S_ARGUMENT,
    S_EVICTIONS,
    S_FORCED,
    S_KEPT,
    S_NEXT_PRIORITY,
    S_NEXT_SERIAL,
    S_NOTES,
    S_OTHER_STAMP,
    S_PROCESSED,
    S_QUEUE_ARMED,
    S_QUEUE_AT,
    S_QUEUE_LENGTH,
    S_REPEATED,
    S_SCHEDULER_ARMED,
    S_SCHEDULER_DRAW,
    S_START,
    S_SYNCED,
    S_VERSION,
    S_WAITING,
    SHAPE,
    SPECIAL,
    SYNC,
    SYNC_GROUP,
    TAKEN,
    TERMINATING,
    TRY,
    WAIT,
)
from baton.twin.bulk.life import (
    ask_to_go,
    fill_group,
    fill_seats,
    fire,
    put_on,
    take_out,
)
from baton.twin.bulk.queues import (
    earlier,
    note_next,
    other_waits_first,
    pop_timer,
    pop_waiting,
    push_waiting,
    roomy,
)
from baton.twin.bulk.seats import (
    mark_reachable,
)
from baton.twin.bulk.views import (
    allocatable_of,
    among_of,
    among_places_of,
    among_slots_of,
    asked_of,
    budgets_of,
    classes_of,
    domain_of_of,
    domains_of,
    entries_of,
    extra_of,
    few_of,
    good_of,
    group_budgets_of,
    groups_of,
    lists_of,
    logs_of,
    nodes_of,
    only_of,
    order_of,
    places_of_of,
    plans_of,
    pods_of,
    queue_of,
    scalars_of,
    scheduler_draws_of,
    seconds_of,
    space_of,
    table_of,
    timers_of,
    used_of,
    waiting_of,
    work_of,
)


@jit
def sync_group(a: Any, group: int) -> None:
    """The controller's sync."""
    if groups_of(a)[group, G_DAEMON] != 0:
        sync_daemons(a, group)
    elif groups_of(a)[group, G_SEATS] != 0:
        fill_seats(a, group)
    else:
        fill_group(a, group)


@jit
def _work(a: Any) -> int:
    """WorkQueue._run, as far as the entries are about bulk pods."""
    s = scalars_of(a)
    while s[S_QUEUE_LENGTH] > 0 or s[S_OTHER_STAMP] < BIG:
        if s[S_QUEUE_LENGTH] == 0:
            return OTHER_WORK
        at = s[S_QUEUE_AT]
        if queue_of(a)[at, 0] > s[S_OTHER_STAMP]:
            return OTHER_WORK
        if not roomy(a):
            return GROW
        kind, subject = queue_of(a)[at, 1], queue_of(a)[at, 2]
        if kind == GROUP and groups_of(a)[subject, G_SHAPE] < 0:
            s[S_ARGUMENT] = subject
            return SHAPE
        s[S_QUEUE_AT] = (at + 1) % queue_of(a).shape[0]
        s[S_QUEUE_LENGTH] -= 1
        if kind == GROUP:
            groups_of(a)[subject, G_PENDING] = 0
            sync_group(a, subject)
        elif kind == NODE:
            taken = nodes_of(a)[subject, N_PLACE] == TAKEN
            nodes_of(a)[subject, N_PLACE] = NO_PLACE
            if taken:
                s[S_ARGUMENT] = subject
                return CHASE
        else:
            budgets_of(a)[subject, B_PENDING] = 0
            count_budget(a, subject)
        if s[S_NOTES] > 0:
            return NOTES
    s[S_QUEUE_ARMED] = IDLE
    return DONE


@jit
def _widths(a: Any, cls: int) -> None:
    """Planner._refresh: how many domains there are."""
    c = classes_of(a)[cls]
    width = 1
    for i in range(c[C_DOMAINS], c[C_DOMAINS] + c[C_DOMAIN_COUNT]):
        domain, sparing = domain_of_of(a)[i, 1], domain_of_of(a)[i, 2]
        size = 0 if sparing != 0 and domains_of(a)[domain, 1] != 0 else domains_of(a)[domain, 0]
        plans_of(a)[c[C_PLAN] + domain_of_of(a)[i, 0]] = size
        width = max(width, size)
    c[C_WIDTH] = width
    c[C_VERSION] = scalars_of(a)[S_VERSION]


@jit
def _look_again(a: Any, cls: int, among: int) -> None:
    """native.Among.of: which slots the masks of the class let pass."""
    c, order, table = classes_of(a)[cls], order_of(a), table_of(a)
    first = c[C_PLAN] + HEADER
    last = first + plans_of(a)[c[C_PLAN] + H_MASKS]
    slots, places = among_slots_of(a)[among], among_places_of(a)[among]
    count = 0
    for i in range(order.shape[0]):
        passes = True
        for m in range(first, last):
            passes &= table[plans_of(a)[m], order[i]] > 0
        slots[count], places[count] = order[i], i
        count += passes
    among_of(a)[among, 0], among_of(a)[among, 1] = scalars_of(a)[S_VERSION], count


@jit
def _find(a: Any, cls: int, pin: int, seat: int) -> Any:
    """FastPath.place_as for a class that goes anywhere, or to the node `pin`, and mounts no volumes but those of the
    seat: (slot, how many nodes were looked at)."""
    c, s = classes_of(a)[cls], scalars_of(a)
    plan = plans_of(a)[c[C_PLAN] : c[C_PLAN] + c[C_LENGTH]]
    total = order_of(a).shape[0]
    plan[H_EXTRA] = seat >= 0 and mark_reachable(a, seat)  # Python's last try may have left it otherwise
    if pin >= 0:
        slot = nodes_of(a)[pin, N_SLOT]
        if slot < 0:
            return -1, 0
        search, places = only_of(a)[:1], only_of(a)[1:]
        search[0], places[0] = slot, 0
        total, start = 1, 0
        for m in range(HEADER, HEADER + plan[H_MASKS]):
            if table_of(a)[plan[m], slot] <= 0:
                return -1, 1
    elif total == 0:
        return -1, 0
    else:
        among = c[C_AMONG]
        if among_of(a)[among, 0] != s[S_VERSION]:
            _look_again(a, cls, among)
        count = among_of(a)[among, 1]
        search, places = among_slots_of(a)[among][:count], among_places_of(a)[among][:count]
        start = s[S_START] % total
    want = total if total < 100 else max(100, total * max(5, 50 - total // 125) // 100)
    draw = scheduler_draws_of(a)[s[S_SCHEDULER_DRAW]]
    slot, _, examined = place(
        table_of(a), allocatable_of(a), used_of(a), search, places, logs_of(a), extra_of(a), plan, c[C_LINES],
        c[C_WIDTH], total, start, want, draw, work_of(a), space_of(a), good_of(a),
        few_of(a), places_of_of(a),
    )  # fmt: skip
    return slot, examined


@jit
def _schedule(a: Any) -> int:
    """SchedulingLoop._run, as far as the waiting pods are bulk pods at their first try."""
    s = scalars_of(a)
    while True:
        if other_waits_first(a):
            return OTHER_WAITER
        if s[S_WAITING] == 0:
            break
        if not roomy(a):
            return GROW
        pod = waiting_of(a)[0, 2]
        flags = pods_of(a)[pod, P_FLAGS]
        if flags & (GONE | TERMINATING) or pods_of(a)[pod, P_NODE] >= 0:
            pop_waiting(a)
            continue
        if flags & SPECIAL or s[S_KEPT] != 0:
            pop_waiting(a)
            s[S_ARGUMENT] = pod
            return TRY
        cls = pods_of(a)[pod, P_CLASS]
        if s[S_SYNCED] != s[S_VERSION]:
            return SYNC
        if classes_of(a)[cls, C_HAVE] == 0:
            s[S_ARGUMENT] = cls
            return PLAN
        if classes_of(a)[cls, C_VERSION] != s[S_VERSION]:
            _widths(a, cls)
        slot, examined = _find(a, cls, pods_of(a)[pod, P_PIN], pods_of(a)[pod, P_SEAT])
        pop_waiting(a)
        if slot < 0:
            s[S_ARGUMENT] = pod
            return TRY
        s[S_SCHEDULER_DRAW] += 1
        total = order_of(a).shape[0]
        s[S_START] = (s[S_START] % total + examined) % total
        put_on(a, pod, slot)
        if s[S_NOTES] > 0:
            return NOTES
    s[S_SCHEDULER_ARMED] = IDLE
    return DONE


@jit
def run(a: Any, time: float, priority: int, serial: int, until: float) -> Any:
    """Everything that is due before (time, priority, serial) and not after `until`; why it stopped."""
    s, f = scalars_of(a), seconds_of(a)
    if s[S_QUEUE_ARMED] == RUNS:
        code = _work(a)
        if code != DONE:
            return code
    if s[S_SCHEDULER_ARMED] == RUNS:
        code = _schedule(a)
        if code != DONE:
            return code
    while True:
        if not roomy(a):
            return GROW
        first = note_next(a)
        due = f[F_NEXT_TIME]
        if first == 0 or due > until or not earlier(due, s[S_NEXT_PRIORITY], s[S_NEXT_SERIAL], time, priority, serial):
            return DONE
        f[F_NOW] = due
        s[S_PROCESSED] += 1
        if first == 1:
            kind, pod = timers_of(a)[0, 1], timers_of(a)[0, 2]
            pop_timer(a)
            fire(a, kind, pod)
            if s[S_NOTES] > 0:
                return NOTES
        elif first == 2:
            s[S_QUEUE_ARMED] = RUNS
            code = _work(a)
            if code != DONE:
                return code
        else:
            s[S_SCHEDULER_ARMED] = RUNS
            code = _schedule(a)
            if code != DONE:
                return code


@jit
def evict(a: Any, at: int, end: int, forced: int) -> Any:
    """KubeTwin.evict for asked[at:end], one after the other, as a drain asks for it; where it stopped.

    It stops after a pod of which Python must be told, and at one that is refused: see `argument`, 1 when refused.
    """
    s = scalars_of(a)
    s[S_ARGUMENT] = 0
    while at < end:
        pod = asked_of(a)[at]
        flags = pods_of(a)[pod, P_FLAGS]
        if flags & (GONE | LEAVING):
            at += 1
            continue
        group = pods_of(a)[pod, P_GROUP]
        g = groups_of(a)[group]
        if forced == 0 and flags & TERMINATING == 0 and flags & RUNNING and g[G_BUDGETS] > 0:
            budget = entries_of(a)[group_budgets_of(a)[g[G_BUDGET_AT]], E_BUDGET]
            b = budgets_of(a)[budget]
            refused = g[G_BUDGETS] > 1
            free = flags & READY == 0 and (b[B_ALWAYS] != 0 or b[B_HEALTHY] >= b[B_DESIRED] > 0)
            if not refused and not free:
                refused = b[B_STALE] != 0 or b[B_ALLOWED] <= 0
                if not refused:
                    b[B_ALLOWED] -= 1
                    b[B_DIRTY] = 1
                    if flags & COUNTED:
                        b[B_COUNTED] -= 1
                    flags = (flags | CLAIMED) & ~COUNTED
            if refused:
                s[S_ARGUMENT] = 1
                break
        pods_of(a)[pod, P_FLAGS] = flags | LEAVING
        nodes_of(a)[pods_of(a)[pod, P_NODE], N_LEAVING] += 1
        ask_to_go(a, pod, -1)
        s[S_EVICTIONS] += 1
        s[S_FORCED] += forced
        if pods_of(a)[pod, P_FLAGS] & GONE == 0:
            g[G_EVICTED] += 1
            if flags & FRESH:
                s[S_REPEATED] += 1
        at += 1
        if flags & BLOCKED or s[S_NOTES] > 0:
            break
    return at


@jit
def leave_node(a: Any, node: int) -> None:
    """The node is gone for the scheduler, its pods hold no room any more."""
    pod = nodes_of(a)[node, N_HEAD]
    while pod >= 0:
        account(a, pod, nodes_of(a)[node, N_SLOT], -1)
        pod = pods_of(a)[pod, P_NEXT]
    nodes_of(a)[node, N_SLOT] = -1


@jit
def come_back(a: Any, node: int, slot: int) -> None:
    """The node is there, in this slot."""
    nodes_of(a)[node, N_SLOT] = slot
    pod = nodes_of(a)[node, N_HEAD]
    while pod >= 0:
        account(a, pod, slot, 1)
        pod = pods_of(a)[pod, P_NEXT]


@jit
def count_row(a: Any, group: int, cls: int, row: int, live: int) -> None:
    """A new figure of the scheduler counts pods of the class: add those of the group that there are."""
    pod = groups_of(a)[group, G_HEAD]
    while pod >= 0:
        p = pods_of(a)[pod]
        pod = p[P_GNEXT]
        if p[P_CLASS] != cls or p[P_NODE] < 0 or (live != 0 and p[P_FLAGS] & TERMINATING):
            continue
        slot = nodes_of(a)[p[P_NODE], N_SLOT]
        if slot >= 0:
            count_at(a, row, slot, 1)


@jit
def list_node(a: Any, node: int, moved: int) -> Any:
    """(order of binding, number, flags) of the pods on a node into `lists`, as many as it holds; how many there are.

    `moved`: those only that a drain moves.
    """
    found = lists_of(a)
    pod = nodes_of(a)[node, N_HEAD]
    count = 0
    while pod >= 0:
        p = pods_of(a)[pod]
        if moved == 0 or groups_of(a)[p[P_GROUP], G_DAEMON] == 0:
            if count < found.shape[0]:
                found[count, 0], found[count, 1], found[count, 2] = p[P_ORDER], pod, p[P_FLAGS]
            count += 1
        pod = p[P_NEXT]
    return count


@jit
def drop_node(a: Any, node: int) -> Any:
    """Take the pods of a node out, till there is something to tell; whether all are."""
    while nodes_of(a)[node, N_HEAD] >= 0:
        take_out(a, nodes_of(a)[node, N_HEAD])
        if scalars_of(a)[S_NOTES] > 0:
            break
    return nodes_of(a)[node, N_HEAD] < 0


@jit
def begin_drain(a: Any, node: int) -> None:
    """A drain of the node starts and waits for nobody so far."""
    pod = nodes_of(a)[node, N_HEAD]
    while pod >= 0:
        pods_of(a)[pod, P_FLAGS] &= ~LEAVING
        pod = pods_of(a)[pod, P_NEXT]
    nodes_of(a)[node, N_LEAVING] = 0
    nodes_of(a)[node, N_DRAINING] = 1


@jit
def _answer(a: Any, what: int, i: int, j: int, k: int, x: float, y: float) -> Any:
    if what == RUN:
        return run(a, x, i, j, y)
    if what == EVICT:
        return evict(a, i, j, k)
    if what == DROP_NODE:
        return int(drop_node(a, i))
    if what == LIST_NODE:
        return list_node(a, i, j)
    return misplaced_ready(a, i)


@jit
def _obey(a: Any, what: int, i: int, j: int, k: int, m: int, x: float) -> None:
    if what == DELETE:
        ask_to_go(a, i, j)
    elif what == DROP:
        take_out(a, i)
    elif what == BIND:
        put_on(a, i, j)
    elif what == WAIT:
        push_waiting(a, j, x, k, i)
    elif what == LEAVE_NODE:
        leave_node(a, i)
    elif what == COME_BACK:
        come_back(a, i, j)
    elif what == COUNT_ROW:
        count_row(a, i, j, k, m)
    elif what == SYNC_GROUP:
        sync_group(a, i)
    elif what == BEGIN_DRAIN:
        begin_drain(a, i)
    elif what == LOOK_AT_SPOTS:
        look_at_spots(a, i)


def entry(what: int, addresses: int, i: int, j: int, k: int, m: int, x: float, y: float) -> Any:
    """Everything that Python asks of the compiled part: `what` (see layout) and what it takes; `addresses` where the
    table of addresses lies."""
    a = numba.carray(at(addresses), (3 * ARRAYS,), np.int64)
    answer = 0
    if what < ANSWERED:
        answer = _answer(a, what, i, j, k, x, y)
    else:
        _obey(a, what, i, j, k, m, x)
    note_next(a)
    return answer
