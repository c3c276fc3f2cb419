"""The DataFrames that a ``JobPool`` gives."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pandas as pd

from fused._submit.outcome import log_of
from fused._submit.record import STATUSES, SUCCESS

if TYPE_CHECKING:
    from fused._submit.job_pool import JobPool


def collected(pool: JobPool, calls: list[int], flatten: bool, drop_index: bool) -> pd.DataFrame:
    """The results of these calls, see ``JobPool.collect``."""
    values = [pool.value(index) for index in calls]
    frames = [_as_frame(value) for value in values]
    if flatten and values and all(frame is not None for frame in frames):
        index = _index(pool, calls, drop_index, [len(frame) for frame in frames if frame is not None])
        joined = pd.concat(frames, ignore_index=True)
        joined.index = index
        return joined
    column = pd.Series(values, dtype=None if _are_plain(values) else object)
    frame = column.to_frame("result")
    frame.index = _index(pool, calls, drop_index, [1] * len(calls))
    return frame


def _as_frame(value: Any) -> pd.DataFrame | None:
    return value if isinstance(value, pd.DataFrame) else None


def _are_plain(values: list[Any]) -> bool:
    return all(isinstance(value, int | float | str | bool) for value in values)


def _index(pool: JobPool, calls: list[int], drop_index: bool, lengths: list[int]) -> pd.Index[Any]:
    repeated = [call for call, length in zip(calls, lengths, strict=True) for _ in range(length)]
    names = list(pool.arguments.columns)
    if drop_index or not names:
        return pd.Index(repeated)
    own = {call: pool.arguments.own(call) for call in calls}
    levels = {name: {call: _hashable(own[call].get(name)) for call in calls} for name in names}
    columns = [[levels[name][call] for call in repeated] for name in names]
    return pd.Index(columns[0], name=names[0]) if len(names) == 1 else pd.MultiIndex.from_arrays(columns, names=names)


def status_frame(pool: JobPool) -> pd.DataFrame:
    """Arguments, ``status`` and ``result`` of each call, as it is now."""
    return logs_frame(pool, "status", "result", None, None, None, include_exceptions=False)


def logs_frame(
    pool: JobPool,
    status_column: str | None,
    result_column: str | None,
    time_column: str | None,
    logs_column: str | None,
    exception_column: str | None,
    *,
    include_exceptions: bool,
) -> pd.DataFrame:
    """See ``JobPool.logs_df``."""
    frame = pool.arg_df()
    statuses = pool.table.status.tolist()
    calls = range(pool.table.count)
    if status_column is not None:
        frame[status_column] = [STATUSES[status] for status in statuses]
    errors = [None if statuses[call] == SUCCESS else pool.exception(call) for call in calls]
    if result_column is not None:
        stands_in = include_exceptions and exception_column is None
        values = [
            pool.value(call) if statuses[call] == SUCCESS else errors[call] if stands_in else None for call in calls
        ]
        plain = _are_plain(values)
        frame[result_column] = pd.Series(values, index=frame.index, dtype=None if plain else object)
    if time_column is not None:
        frame[time_column] = pd.Series(pool.times(), index=frame.index, dtype="timedelta64[ns]")
    if logs_column is not None:
        records = (record for _, record in pool.table.records(calls))
        frame[logs_column] = [None if record is None else log_of(record) for record in records]
    if exception_column is not None:
        frame[exception_column] = pd.Series(errors, index=frame.index, dtype=object)
    return frame


def _hashable(value: Any) -> Any:
    """An argument as it can stand in an index."""
    try:
        hash(value)
    except TypeError:
        numpy = sys.modules.get("numpy")
        if numpy is not None and isinstance(value, numpy.ndarray):
            value = value.tolist()
        return json.dumps(value, default=repr, ensure_ascii=False)
    return value
