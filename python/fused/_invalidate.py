"""Dropping the results that a server keeps of a function: ``udf.invalidate_cache()`` and the like."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fused._transport import call_json, path_of

if TYPE_CHECKING:
    from fused.models.udf import Udf


def invalidate_cache(udf: Udf | str, z: int | None = None, x: int | None = None, y: int | None = None) -> bool:
    """The next call of the function computes; with ``z``, ``x`` and ``y`` only that of this tile.

    ``udf``: a function, the id of a saved one, its name, or ``"email/name"``. Runs that go on now are answered and not
    kept. What ``@fused.cache`` keeps inside the function is not touched (``fused cache clear``).

    Gives whether there is a saved function of that name. A name without one may be of a function that was run as text:
    what was kept under it is dropped as well.

    Raises ``ValueError`` when some of ``z``, ``x``, ``y`` are given and not all (the route itself answers 422),
    ``ServerError`` when there is no such tile, ``NotFoundError`` when no function has that id.
    """
    tile = {"z": z, "x": x, "y": y}
    missing = [name for name, value in tile.items() if value is None]
    if 0 < len(missing) < 3:
        raise ValueError(
            f"a tile is named by z, x and y together, {' and '.join(missing)} is missing; leave all out for the whole "
            "function"
        )
    for name, value in tile.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise ValueError(f"{name}={value!r} is not a whole number")
    wanted, shown = _identity(udf)
    query = {name: value for name, value in tile.items() if value is not None}
    path = f"/api/v1/functions{path_of(wanted)}/cache"
    told = call_json("DELETE", path, f"dropping the results of {shown!r}", query=query)
    return bool(told.get("saved", True)) if isinstance(told, dict) else True


def _identity(udf: Udf | str) -> tuple[str, str]:
    """Id or name for the server, and how to call it."""
    from fused.models.udf import Udf

    if isinstance(udf, Udf):
        return udf.id or udf.name, udf.name
    if not isinstance(udf, str) or not udf.strip():
        raise TypeError(f"what to forget is a function, its id, its name or 'email/name', not {udf!r:.100}")
    owner, _, name = udf.rpartition("/")
    if not owner:
        return udf, udf
    from fused._saved import load_by_name

    return load_by_name(owner, name).id or name, udf
