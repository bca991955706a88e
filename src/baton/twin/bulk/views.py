"""The arrays behind their addresses: what compiled functions take instead of forty arguments.

`a` is a table of addresses: for array number i of Arrays, [3 i] says where it lies, the two after how long it is.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from baton.logic.scheduling.accelerate import jit
from baton.logic.scheduling.addressed import at
from baton.twin.bulk.layout import (
    BUDGET_COLUMNS,
    CLASS_COLUMNS,
    DAEMON_COLUMNS,
    EMPTY_SPOT,
    GROUP_COLUMNS,
    GROUP_TIMES,
    LISTED,
    NODE_COLUMNS,
    POD_COLUMNS,
    POD_TIMES,
    SEAT_COLUMNS,
)

_SPOT_COLUMNS = len(EMPTY_SPOT)


@jit
def scalars_of(a: Any) -> Any:
    return numba.carray(at(a[0]), (a[1],), np.int64)


@jit
def seconds_of(a: Any) -> Any:
    return numba.carray(at(a[3]), (a[4],), np.float64)


@jit
def pods_of(a: Any) -> Any:
    return numba.carray(at(a[6]), (a[7], POD_COLUMNS), np.int64)


@jit
def times_of(a: Any) -> Any:
    return numba.carray(at(a[9]), (a[10], POD_TIMES), np.float64)


@jit
def groups_of(a: Any) -> Any:
    return numba.carray(at(a[12]), (a[13], GROUP_COLUMNS), np.int64)


@jit
def group_times_of(a: Any) -> Any:
    return numba.carray(at(a[15]), (a[16], GROUP_TIMES), np.float64)


@jit
def group_budgets_of(a: Any) -> Any:
    return numba.carray(at(a[18]), (a[19],), np.int64)


@jit
def entries_of(a: Any) -> Any:
    return numba.carray(at(a[21]), (a[22], 3), np.int64)


@jit
def budgets_of(a: Any) -> Any:
    return numba.carray(at(a[24]), (a[25], BUDGET_COLUMNS), np.int64)


@jit
def budget_times_of(a: Any) -> Any:
    return numba.carray(at(a[27]), (a[28],), np.float64)


@jit
def namespaces_of(a: Any) -> Any:
    return numba.carray(at(a[30]), (a[31],), np.int64)


@jit
def namespace_times_of(a: Any) -> Any:
    return numba.carray(at(a[33]), (a[34],), np.float64)


@jit
def classes_of(a: Any) -> Any:
    return numba.carray(at(a[36]), (a[37], CLASS_COLUMNS), np.int64)


@jit
def requests_of(a: Any) -> Any:
    return numba.carray(at(a[39]), (a[40], 6), np.int64)


@jit
def rows_of(a: Any) -> Any:
    return numba.carray(at(a[42]), (a[43],), np.int64)


@jit
def plans_of(a: Any) -> Any:
    return numba.carray(at(a[45]), (a[46],), np.int64)


@jit
def domain_of_of(a: Any) -> Any:
    return numba.carray(at(a[48]), (a[49], 3), np.int64)


@jit
def domains_of(a: Any) -> Any:
    return numba.carray(at(a[51]), (a[52], 2), np.int64)


@jit
def nodes_of(a: Any) -> Any:
    return numba.carray(at(a[54]), (a[55], NODE_COLUMNS), np.int64)


@jit
def node_at_of(a: Any) -> Any:
    return numba.carray(at(a[57]), (a[58],), np.int64)


@jit
def shapes_of(a: Any) -> Any:
    return numba.carray(at(a[60]), (a[61], 5), np.float64)


@jit
def probes_of(a: Any) -> Any:
    return numba.carray(at(a[63]), (a[64], 2), np.float64)


@jit
def probe_counts_of(a: Any) -> Any:
    return numba.carray(at(a[66]), (a[67], 2), np.int64)


@jit
def spreads_of(a: Any) -> Any:
    return numba.carray(at(a[69]), (a[70], 3), np.float64)


@jit
def timer_times_of(a: Any) -> Any:
    return numba.carray(at(a[72]), (a[73],), np.float64)


@jit
def timers_of(a: Any) -> Any:
    return numba.carray(at(a[75]), (a[76], 3), np.int64)


@jit
def queue_of(a: Any) -> Any:
    return numba.carray(at(a[78]), (a[79], 3), np.int64)


@jit
def waiting_of(a: Any) -> Any:
    return numba.carray(at(a[81]), (a[82], 3), np.int64)


@jit
def waiting_since_of(a: Any) -> Any:
    return numba.carray(at(a[84]), (a[85],), np.float64)


@jit
def priorities_of(a: Any) -> Any:
    return numba.carray(at(a[87]), (a[88],), np.int64)


@jit
def kubelet_draws_of(a: Any) -> Any:
    return numba.carray(at(a[90]), (a[91],), np.float64)


@jit
def name_draws_of(a: Any) -> Any:
    return numba.carray(at(a[93]), (a[94],), np.float64)


@jit
def scheduler_draws_of(a: Any) -> Any:
    return numba.carray(at(a[96]), (a[97],), np.float64)


@jit
def tracks_of(a: Any) -> Any:
    return numba.carray(at(a[99]), (a[100], 2), np.float64)


@jit
def notes_of(a: Any) -> Any:
    return numba.carray(at(a[102]), (a[103], 3), np.int64)


@jit
def names_of(a: Any) -> Any:
    return numba.carray(at(a[105]), (a[106],), np.uint8)


@jit
def table_of(a: Any) -> Any:
    return numba.carray(at(a[108]), (a[109], a[110]), np.int32)


@jit
def allocatable_of(a: Any) -> Any:
    return numba.carray(at(a[111]), (a[112], 4), np.int64)


@jit
def used_of(a: Any) -> Any:
    return numba.carray(at(a[114]), (a[115], 6), np.int64)


@jit
def order_of(a: Any) -> Any:
    return numba.carray(at(a[117]), (a[118],), np.int32)


@jit
def logs_of(a: Any) -> Any:
    return numba.carray(at(a[120]), (a[121],), np.float64)


@jit
def extra_of(a: Any) -> Any:
    return numba.carray(at(a[123]), (a[124],), np.bool_)


@jit
def work_of(a: Any) -> Any:
    return numba.carray(at(a[126]), (a[127],), np.int64)


@jit
def space_of(a: Any) -> Any:
    return numba.carray(at(a[129]), (a[130],), np.float64)


@jit
def good_of(a: Any) -> Any:
    return numba.carray(at(a[132]), (a[133],), np.bool_)


@jit
def only_of(a: Any) -> Any:
    return numba.carray(at(a[135]), (a[136],), np.int32)


@jit
def among_of(a: Any) -> Any:
    return numba.carray(at(a[138]), (a[139], 2), np.int64)


@jit
def among_slots_of(a: Any) -> Any:
    return numba.carray(at(a[141]), (a[142], a[143]), np.int32)


@jit
def among_places_of(a: Any) -> Any:
    return numba.carray(at(a[144]), (a[145], a[146]), np.int32)


@jit
def lists_of(a: Any) -> Any:
    return numba.carray(at(a[147]), (a[148], 3), np.int64)


@jit
def asked_of(a: Any) -> Any:
    return numba.carray(at(a[150]), (a[151],), np.int64)


@jit
def daemons_of(a: Any) -> Any:
    return numba.carray(at(a[153]), (a[154], DAEMON_COLUMNS), np.int64)


@jit
def spots_of(a: Any) -> Any:
    return numba.carray(at(a[156]), (a[157], _SPOT_COLUMNS), np.int64)


@jit
def seats_of(a: Any) -> Any:
    return numba.carray(at(a[159]), (a[160], SEAT_COLUMNS), np.int64)


@jit
def attached_of(a: Any) -> Any:
    return numba.carray(at(a[162]), (a[163], 3), np.int64)


@jit
def few_of(a: Any) -> Any:
    return numba.carray(at(a[165]), (a[166], LISTED), np.int32)


@jit
def places_of_of(a: Any) -> Any:
    return numba.carray(at(a[168]), (a[169],), np.int32)
