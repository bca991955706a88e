"""What the columns of the arrays mean. Shared by the compiled functions and by the Python around them.

A pod, a group (one ReplicaSet's pods), a budget, a node and a class are rows; a row's number is its id.
"""

from __future__ import annotations

from typing import Any, NamedTuple

BIG = 2**62

# pods: whole numbers
(
    P_GROUP,
    P_CLASS,
    P_SHAPE,
    P_NODE,
    P_FLAGS,
    P_NAME,
    P_PREV,
    P_NEXT,
    P_GPREV,
    P_GNEXT,
    P_SERIAL,
    P_LIMIT,
    P_ORDER,
    P_PIN,
    P_REVISION,
    P_SPOT_NEXT,
    P_SEAT,
) = range(17)
POD_COLUMNS = 17
"""P_SEAT: the seat of a StatefulSet's pod, -1 for others."""
# pods: seconds
(T_MADE, T_TOLD, T_BOUND, T_STARTED, T_CHANGED, T_SINCE, T_READY_IN) = range(7)
POD_TIMES = 7
# flags of a pod
RUNNING, READY, TERMINATING, GONE, FRESH, LEAVING, BLOCKED, COUNTED, CLAIMED, SPECIAL = (1 << i for i in range(10))
"""LEAVING: a drain waits for it. BLOCKED: a drain was refused it. COUNTED: healthy in its budgets. CLAIMED: an approved
eviction. SPECIAL: its next try at a node is Python's (it waited before)."""

# groups
(
    G_ACTIVE, G_READY, G_DESIRED, G_HEAD, G_TAIL, G_SHAPE, G_CLASS, G_PRIORITY, G_PENDING, G_DIRTY, G_LOWEST, G_MISSING,
    G_FIRST, G_BUDGETS, G_BUDGET_AT, G_NAMESPACE, G_EVICTED, G_NEVER_READY, G_OWN_READY, G_PRIORITY_AT,
    G_DAEMON, G_LOWEST_OF, G_SEATS, G_ORDERED,
) = range(24)  # fmt: skip
GROUP_COLUMNS = 24
"""G_FIRST: the order in which groups first missed a replica, -1 before. G_DAEMON: 0, or one more than the row among the
DaemonSets. G_LOWEST_OF: how many were wanted when fewest were ready. G_SEATS: 0, or one more than the first of a
StatefulSet's seats, of which there are G_DESIRED. G_ORDERED: whether its ordinals wait for those before them."""
# a group's times: three figures of each spread, then since when as many replicas are missing
GT_START, GT_STOP, GT_READY, GT_SINCE = 0, 3, 6, 9
GROUP_TIMES = 10

# budgets
(
    B_ALLOWED, B_HEALTHY, B_DESIRED, B_EXPECTED, B_PODS, B_COUNTED, B_ALWAYS, B_STALE, B_KIND, B_VALUE, B_SCALE,
    B_PENDING, B_DIRTY, B_NAMESPACE, B_WAITED, B_FROM_SCALE,
) = range(16)  # fmt: skip
BUDGET_COLUMNS = 16
NO_RULE, MAX_NUMBER, MAX_SHARE, MIN_NUMBER, MIN_SHARE = range(5)
# what happened to a DaemonSet's pod: the bits of controllers.base
BIT_ADDED, BIT_REMOVED, BIT_READY, BIT_TERMINATING = 1, 2, 4, 8
# a budget's groups: the budget, how many pods, the scale they stand for
E_BUDGET, E_PODS, E_SCALE = range(3)

# DaemonSets
(
    D_REVISION, D_RENEW, D_NODES, D_MISPLACED, D_LOOK_FIRST, D_LOOK_LAST, D_OLD, D_OLD_FIRST, D_OLD_LAST,
    D_OLD_UNREADY, D_OLD_UNREADY_FIRST, D_OLD_UNREADY_LAST, D_ON_DELETE, D_MOST, D_MOST_SHARE, D_SURGE, D_SURGE_SHARE,
) = range(17)  # fmt: skip
DAEMON_COLUMNS = 17
"""D_RENEW: it changed, Python has to read it before the next sync. D_NODES: on how many it should run. D_LOOK_*: the
nodes to look at in the next sync. D_OLD_*, D_OLD_UNREADY_*: how many pods of another revision, and the list of their
nodes. D_MOST_SHARE, D_SURGE_SHARE: whether the figure is a percentage."""

# spots, one per node and DaemonSet: a node's lie together
(
    SPOT_RULE, SPOT_WANTED, SPOT_PODS, SPOT_LOOKED, SPOT_LOOK_NEXT, SPOT_LIST, SPOT_PREV, SPOT_NEXT, SPOT_OLD,
    SPOT_MISPLACED,
) = range(10)  # fmt: skip
EMPTY_SPOT = (0, 0, -1, 0, -1, 0, -1, -1, -1, -1)
"""SPOT_WANTED: the last sync found that the set should run there. SPOT_PODS: the first of its pods that are there or
made for it (P_SPOT_NEXT leads on). SPOT_LIST: D_OLD or D_OLD_UNREADY when pod SPOT_OLD is in that list."""
# SPOT_RULE: whether the set should run there, its pods may go on there, and no NoExecute taint chases them
RUNS_THERE, GOES_ON, STAYS = (1 << i for i in range(3))

# seats, one per ordinal of a StatefulSet: a set's lie together
SEAT_POD, SEAT_CLASS, SEAT_REACH, SEAT_AT, SEAT_DRIVERS = range(5)
SEAT_COLUMNS = 5
"""SEAT_POD: the pod that has the ordinal, -1 when there is none. SEAT_CLASS: of the next one. SEAT_REACH: the row of
nodes that its volumes can be used on, -1 without any. SEAT_DRIVERS: of so many drivers it has volumes, their entries
begin at SEAT_AT."""
# a driver's volumes of a seat: the scheduler's rows of how many are and can be attached, and how many the pod brings
A_COUNT, A_LIMIT, A_MANY = range(3)

# nodes
N_SLOT, N_CHASES, N_HEAD, N_TAIL, N_PODS, N_LEAVING, N_DRAINING, N_VERSION, N_ASKED, N_PLACE = range(10)
NODE_COLUMNS = 10
"""N_VERSION counts the changes of its pods. N_CHASES: whether it has NoExecute taints."""
NOBODY, NO_OTHERS, ANYBODY = range(3)
"""Of N_CHASES. NO_OTHERS: it has, and all that is there are bulk pods that came since."""
NO_PLACE, KEPT, TAKEN = range(3)
"""Of N_PLACE: whether the work queue keeps a place for a sync of NodeController that would find nothing to do (KEPT),
and whether there is something to do after all (TAKEN). N_ASKED: Python's part of the work queue has such a sync."""

# classes
(
    C_PLAN,
    C_LENGTH,
    C_LINES,
    C_WIDTH,
    C_VERSION,
    C_HAVE,
    C_ROWS,
    C_LIVE,
    C_ALL,
    C_ROOM,
    C_DOMAINS,
    C_DOMAIN_COUNT,
    C_AMONG,
) = range(13)
CLASS_COLUMNS = 13
"""C_AMONG: which list of slots that its masks let pass."""

# scalars: whole numbers; the first SHARED pass between Python and the compiled part at every call
(
    S_SERIAL, S_POD_SERIAL, S_WAIT_SERIAL, S_START, S_AWAY, S_MOST_AWAY, S_MOST_PENDING, S_OTHER_PENDING, S_VERSION,
    S_PARKED, S_NEXT_PRIORITY, S_NEXT_SERIAL, S_QUEUE_ARMED, S_SCHEDULER_ARMED, S_TRACKED, S_PODS, S_STAMP,
    S_QUEUE_AT, S_QUEUE_LENGTH, S_QUEUE_SERIAL, S_OTHER_STAMP, S_WAITING, S_SCHEDULER_SERIAL, S_OTHER_PRIORITY,
    S_OTHER_SERIAL, S_TIMERS, S_KUBELET_DRAW, S_NAME_DRAW, S_SCHEDULER_DRAW, S_SYNCED, S_PLACEMENTS,
    S_PENDING, S_WAITED, S_EVICTIONS, S_REPEATED, S_FORCED, S_TRACK, S_PROCESSED, S_ORDER, S_MARGIN, S_ARGUMENT,
    S_NOTES, S_MISSED, S_KEPT,
) = range(44)  # fmt: skip
SHARED = 15
SCALARS = 44
"""S_KEPT: room is kept somewhere for a pod that preemption made it for; where others may go then is Python's to say."""
# scalars: seconds
(F_NOW, F_DEPTH, F_NEXT_TIME, F_QUEUE_TIME, F_SCHEDULER_TIME, F_OTHER_QUEUED, F_LONGEST) = range(7)
SECONDS = 7

# armed: nobody waits for it, it is due (here or in the clock's own heap), it runs
IDLE, DUE, DUE_ELSEWHERE, RUNS = range(4)

# timers
STARTED, BECAME_READY, STOPPED = range(3)
# what a queue entry is about
GROUP, BUDGET, NODE = range(3)

# what the compiled part is asked to do, see kernel.entry; it has an answer to the first five
(
    RUN, EVICT, DROP_NODE, LIST_NODE, MISPLACED_READY, DELETE, DROP, BIND, WAIT, LEAVE_NODE, COME_BACK,
    COUNT_ROW, SYNC_GROUP, BEGIN_DRAIN, LOOK_AT_SPOTS,
) = range(15)  # fmt: skip
ANSWERED = 5
# why the compiled part gives back control
(DONE, GROW, NOTES, OTHER_WORK, OTHER_WAITER, TRY, SYNC, PLAN, SHAPE, CHASE) = range(10)
# what Python is told of
(ROOM_LEFT, ROOM_TAKEN, EMPTIED, BUDGET_NEWS, POD_NEWS, UNBLOCKED, CHASED, SURPLUS, GAVE_UP) = range(9)

LETTERS = 27
NAMES = LETTERS**5
LISTED_FROM_SLOTS = 512
"""In smaller clusters, reading a figure of each node costs less than keeping lists of those that have one."""
LISTED = 160
"""Length of a row of `few`."""


class Arrays(NamedTuple):
    """Everything the compiled functions read and write.

    `work`, `space`, `good` and `only` hold nothing between calls. `among` says of the lists of slots that masks let
    pass (`among_slots`, `among_places`) for which version they hold and how long they are. `lists` has rows of three
    that are asked for or told, `asked` the pods to evict. `names` counts pods by what their names' numbers leave when
    divided by its length: of 0 it is known that nobody has the name. `few` lists the slots where a row of `table`
    counts pods, where there are not many (compiled.holders_of); of large clusters only.
    """

    scalars: Any
    seconds: Any
    pods: Any
    times: Any
    groups: Any
    group_times: Any
    group_budgets: Any
    entries: Any
    budgets: Any
    budget_times: Any
    namespaces: Any
    namespace_times: Any
    classes: Any
    requests: Any
    rows: Any
    plans: Any
    domain_of: Any
    domains: Any
    nodes: Any
    node_at: Any
    shapes: Any
    probes: Any
    probe_counts: Any
    spreads: Any
    timer_times: Any
    timers: Any
    queue: Any
    waiting: Any
    waiting_since: Any
    priorities: Any
    kubelet_draws: Any
    name_draws: Any
    scheduler_draws: Any
    tracks: Any
    notes: Any
    names: Any
    table: Any
    allocatable: Any
    used: Any
    order: Any
    logs: Any
    extra: Any
    work: Any
    space: Any
    good: Any
    only: Any
    among: Any
    among_slots: Any
    among_places: Any
    lists: Any
    asked: Any
    daemons: Any
    spots: Any
    seats: Any
    attached: Any
    few: Any
    places_of: Any


ARRAYS = len(Arrays._fields)
