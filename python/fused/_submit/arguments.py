"""``arg_list`` of ``fused.submit``, kept by column: a million calls are a few arrays, not a million dictionaries.

A call's dictionary is made when it is needed and thrown away. Arrays of a DataFrame stay as they are.
"""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fused._run.parameters import encode_parameter

if TYPE_CHECKING:
    import pandas as pd

    from fused.models.udf import Udf

MISSING = type("_Missing", (), {"__repr__": lambda self: "MISSING", "__slots__": ()})()


class Arguments:
    """``count`` calls. ``columns``: for each parameter a sequence of as many values, ``MISSING`` where a call does not
    give it. ``shared``: what every call is given; a call's own value wins.
    """

    __slots__ = ("columns", "count", "shared")

    def __init__(self, columns: dict[str, Sequence[Any]], count: int, shared: Mapping[str, Any]) -> None:
        self.columns = columns
        self.count = count
        self.shared = dict(shared)

    def own(self, index: int) -> dict[str, Any]:
        """What call ``index`` is given beside what all are given."""
        found = {}
        for name, column in self.columns.items():
            value = column[index]
            if value is not MISSING:
                found[name] = plain(value)
        return found

    def call(self, index: int) -> dict[str, Any]:
        """Everything that call ``index`` is given."""
        return {**self.shared, **self.own(index)}

    def frame(self) -> pd.DataFrame:
        """All calls' own arguments as a DataFrame, one row a call."""
        import pandas as pd

        return pd.DataFrame({name: _series(column) for name, column in self.columns.items()}, index=range(self.count))

    def encoded_columns(self, first: int, count: int) -> dict[str, list[Any]] | None:
        """Calls ``first`` to ``first + count`` as JSON values by column; None when one of them lacks a value.

        ``TypeError`` names a parameter that cannot travel.
        """
        found: dict[str, list[Any]] = {}
        for name, column in self.columns.items():
            values = column[first : first + count]
            quick = _numbers(values)
            if quick is None:
                if any(value is MISSING for value in values):
                    return None
                quick = [encode_parameter(plain(value), name) for value in values]
            found[name] = quick
        return found

    def encoded_row(self, index: int) -> dict[str, Any]:
        """One call as JSON values."""
        return {name: encode_parameter(value, name) for name, value in self.own(index).items()}


def plain(value: Any) -> Any:
    """A numpy scalar as Python's own value, pandas' missing values as None; everything else as it is."""
    kind = type(value)
    if kind in (int, str, float, bool) or value is None:
        return value
    if kind.__module__ == "numpy" and hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        if value.dtype.kind in "Mm":
            return _time(value)
        return value.item()
    return None if kind.__name__ in ("NaTType", "NAType") else value


def _time(value: Any) -> Any:
    import pandas as pd

    converted: Any = pd.Timestamp(value) if value.dtype.kind == "M" else pd.Timedelta(value)
    return None if pd.isna(converted) else converted


def _series(column: Sequence[Any]) -> Any:
    if isinstance(column, list):
        import pandas as pd

        values = [None if value is MISSING else value for value in column]
        if any(isinstance(value, list | tuple | dict) for value in values[:1]):
            return pd.Series(values, dtype=object)
        return pd.Series(values)
    return column


def _numbers(values: Any) -> list[Any] | None:
    """A numpy array of finite numbers as a list; None for anything else."""
    numpy = sys.modules.get("numpy")
    if numpy is None or not isinstance(values, numpy.ndarray) or values.dtype.kind not in "iuf":
        return None
    if values.dtype.kind == "f" and not math.isfinite(float(values.sum())) and not numpy.isfinite(values).all():
        return None
    numbers: list[Any] = values.tolist()
    return numbers


def read_arguments(
    arg_list: Any, udf: Udf | None, label: str, shared: Mapping[str, Any], called: str = "fused.submit(…, {})"
) -> Arguments:
    """``arg_list`` as a list of values, a list of dictionaries or a DataFrame (seed 000, ``submit``).

    ``udf`` is None where only a name or token says what runs: then the items must be dictionaries. ``ValueError`` for
    an empty list, values for a function without parameters, and calls that lack a required parameter; ``TypeError``
    for another type, a generator, and names that the function does not have. ``called``: how the caller was asked, with
    ``{}`` where what all calls share stands.
    """
    count = _length(arg_list)
    if count == 0:
        raise ValueError("arg_list is empty: there is nothing to run; give a list of values or dictionaries, or rows")
    if udf is not None:
        udf.check_names(shared)
    if _is_frame(arg_list):
        columns = _columns_of_frame(arg_list)
    elif _are_sets_of_arguments(arg_list, udf):
        columns = _columns_of_dictionaries(arg_list)
    else:
        columns = _column_of_values(arg_list, udf, label)
    if udf is not None:
        udf.check_names(columns)
        _check_required(Arguments(columns, count, shared), udf, called)
    return Arguments(columns, count, shared)


def _length(arg_list: Any) -> int:
    if inspect.isgenerator(arg_list) or (isinstance(arg_list, Iterator) and not hasattr(arg_list, "__len__")):
        raise TypeError(
            f"arg_list is a {type(arg_list).__name__}, whose length nobody knows; give list(arg_list), if it ends"
        )
    wrong = isinstance(arg_list, str | bytes | bytearray | Mapping) or not hasattr(arg_list, "__len__")
    if wrong or not hasattr(arg_list, "__iter__"):
        raise TypeError(
            "arg_list is a list of values, a list of dictionaries or a DataFrame, not "
            f"{type(arg_list).__name__}: {arg_list!r:.100}"
        )
    return len(arg_list)


def _is_frame(arg_list: Any) -> bool:
    return hasattr(arg_list, "to_dict") and hasattr(arg_list, "columns")


def _columns_of_frame(frame: Any) -> dict[str, Sequence[Any]]:
    names = [str(name) for name in frame.columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"arg_list has the column {', '.join(map(repr, twice))} twice; each parameter is one column")
    if not names:
        raise ValueError("arg_list is a DataFrame without columns; each column is a parameter")
    numpy_kinds = "iufb"
    columns: dict[str, Sequence[Any]] = {}
    for position, name in enumerate(names):
        series = frame.iloc[:, position]
        kind = getattr(series.dtype, "kind", "O")
        is_numpy = type(series.dtype).__module__.startswith("numpy") and kind in numpy_kinds
        columns[name] = series.to_numpy() if is_numpy else series.array
        if not is_numpy and (missing := series.isna()).any():  # a text's missing value is a float to Python
            columns[name] = [None if gone else value for value, gone in zip(series.array, missing, strict=True)]
    return columns


def _are_sets_of_arguments(items: Any, udf: Udf | None) -> bool:
    """Are the items dictionaries of parameters. A dictionary for a first parameter is a value, if its keys are none."""
    first = next(iter(items))
    if not isinstance(first, Mapping):
        if udf is None:
            raise ValueError(
                "values in arg_list go to a function's first parameter, which a name or token does not tell: give "
                "dictionaries, as [dict(n=1), dict(n=2)], or load the function: fused.load(…)"
            )
        return False
    described = None if udf is None else udf.described
    if described is None or described.takes_any_keyword:
        return True
    known = set(described.parameters)
    return any(key in known for key in first) or len(known) != 1


def _columns_of_dictionaries(items: Any) -> dict[str, Sequence[Any]]:
    columns: dict[str, list[Any]] = {}
    for index, item in enumerate(items):
        if not isinstance(item, Mapping):
            raise TypeError(
                f"item {index} of arg_list is {item!r:.100}, item 0 is a dictionary: give dictionaries, or values"
            )
        for name, value in item.items():
            column = columns.get(name)
            if column is None:
                if not isinstance(name, str):
                    raise TypeError(f"item {index} of arg_list has {name!r} as a name; names of parameters are text")
                column = columns[name] = [MISSING] * index
            column.append(value)
        if len(item) != len(columns) or index == 0:
            for column in columns.values():
                if len(column) == index:
                    column.append(MISSING)
    return dict(columns)


def _column_of_values(items: Any, udf: Udf | None, label: str) -> dict[str, Sequence[Any]]:
    assert udf is not None
    parameters = udf.described.parameters
    if not parameters:
        raise ValueError(f"{label!r} has no parameters, so a value like {next(iter(items))!r:.100} has nowhere to go")
    return {parameters[0]: items if _is_array(items) else list(items)}


def _is_array(items: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(items, numpy.ndarray) and items.ndim == 1


def _check_required(arguments: Arguments, udf: Udf, called: str) -> None:
    """The first call that lacks something, by the sets of names that calls have: few, however many calls."""
    from fused._argument_check import ArgumentCheck

    check = ArgumentCheck(udf)
    always = [*arguments.shared]
    partly: list[tuple[str, list[Any]]] = []
    for name, column in arguments.columns.items():
        if isinstance(column, list) and any(value is MISSING for value in column):
            partly.append((name, column))
        else:
            always.append(name)
    seen: set[tuple[bool, ...]] = set()
    for index in range(arguments.count if partly else 1):
        which = tuple(column[index] is not MISSING for _, column in partly)
        if which in seen:
            continue
        seen.add(which)
        there = [*always, *(name for (name, _), given in zip(partly, which, strict=True) if given)]
        missing = check.missing(dict.fromkeys(there))
        if missing:
            names, values = ", ".join(map(repr, missing)), ", ".join(f"{name}=…" for name in missing)
            raise ValueError(
                f"call {index} of arg_list has no {names}, which {udf.name!r} requires: give it in every item, or "
                f"once for all as {called.format(values)}"
            )
