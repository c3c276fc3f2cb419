"""What ``@fused.cache`` and a call of a cached function may say: names, checks, and a clear error for anything else."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fused._cache import place
from fused._duration import parse_duration

DEFAULT_MAX_AGE = "12h"
DEFAULT_LOCK_TIMEOUT = 120
# Newer names for older ones.
ALIASES = {
    "cache_reset": "reset",
    "cache_folder_path": "path",
    "cache_storage": "storage",
    "key_exclude": "cache_key_exclude",
    "verbose": "cache_verbose",
    "cache_max_size": "max_size",
}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)I?B?\Z", re.IGNORECASE)
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


@dataclass(frozen=True, slots=True)
class Settings:
    """How one function, or one call of it, is cached. Sizes in bytes, times in seconds."""

    cache_max_age: int
    path: str
    concurrent_lock_timeout: float
    reset: bool = False
    storage: str = "auto"
    cache_key_exclude: tuple[str, ...] = ()
    cache_key_files: bool = False
    cache_verbose: bool = False
    max_size: int | None = None

    def changed(self, given: Mapping[str, Any]) -> Settings:
        """With other values for some names; ``TypeError`` lists the names for one that is none."""
        values: dict[str, Any] = {}
        for name, value in given.items():
            known = ALIASES.get(name, name)
            check = CHECKS.get(known)
            if check is None:
                raise TypeError(f"fused.cache has no keyword {name!r}; it has {', '.join(NAMES)}")
            if known in values:
                raise TypeError(f"fused.cache got {known!r} twice: {name!r} is another name of it")
            if value is None and known not in ("max_size", "cache_max_age"):
                continue  # the newer client's default: nothing was said
            values[known] = check(value, name)
        return replace(self, **values)


def _age(value: Any, name: str) -> int:
    return parse_duration(DEFAULT_MAX_AGE if value is None else value, name)


def _path(value: Any, name: str) -> str:
    return place.check_path(value)


def _timeout(value: Any, name: str) -> float:
    if isinstance(value, str):
        return float(parse_duration(value, name))
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1e9:
        raise ValueError(f"{name}={value!r} is not a number of seconds from 0 up, nor a text as '2m'")
    return float(value)


def _flag(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name}={value!r} is not True or False")
    return value


def _storage(value: Any, name: str) -> str:
    if value not in place.STORAGES:
        raise ValueError(
            f"{name}={value!r} is unknown; it is {', '.join(map(repr, place.STORAGES[:-1]))} or {place.STORAGES[-1]!r}"
        )
    return str(value)


def _names(value: Any, name: str) -> tuple[str, ...]:
    names = (value,) if isinstance(value, str) else value
    if not isinstance(names, Sequence) or not all(isinstance(each, str) for each in names):
        raise TypeError(f"{name}={value!r} is not a parameter's name or a list of such names")
    return tuple(names)


def _size(value: Any, name: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, str):
        found = _SIZE.match(value.strip())
        if found is not None:
            return int(float(found[1]) * _UNITS[found[2].upper()])
    elif isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ValueError(f"{name}={value!r} is not a size: write bytes as a whole number, or '500MB', '10GB'")


CHECKS: dict[str, Callable[[Any, str], Any]] = {
    "cache_max_age": _age,
    "path": _path,
    "concurrent_lock_timeout": _timeout,
    "reset": _flag,
    "storage": _storage,
    "cache_key_exclude": _names,
    "cache_key_files": _flag,
    "cache_verbose": _flag,
    "max_size": _size,
}
NAMES = (*CHECKS, *ALIASES)
DEFAULTS = Settings(parse_duration(DEFAULT_MAX_AGE), place.DEFAULT_PATH, float(DEFAULT_LOCK_TIMEOUT))
