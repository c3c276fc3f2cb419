"""Revisions of saved functions: ``udf.history()``, ``udf.revert(…)``, ``fused.load(name, revision=…)``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from fused._transport import call_json, path_of
from fused.errors import NotFoundError, ServerError

if TYPE_CHECKING:
    from fused.models.udf import Udf

PAGE = 300


@dataclass(frozen=True)
class Revision:
    """One save: ``number`` counts from 1, ``saved_at`` is a time in UTC, ``code_hash`` is of code and headers."""

    id: str
    number: int
    slug: str
    saved_at: str
    saved_by: str
    message: str
    code_hash: str
    is_current: bool
    function_id: str = field(repr=False)

    @classmethod
    def of_json(cls, value: Mapping[str, Any], function_id: str) -> Revision:
        """From the server's record; keys it does not know are left out."""
        known = {each.name for each in fields(cls)} - {"function_id"}
        try:
            return cls(**{key: item for key, item in value.items() if key in known}, function_id=function_id)
        except TypeError as error:
            raise ServerError(f"the server's record of a revision cannot be read: {error}") from None

    def load(self) -> Udf:
        """The function as it was saved then, with its id: it can be run, compared, and saved over the newest."""
        return _load(self.function_id, self.id)


def _path(function_id: str, revision: str = "") -> str:
    return f"/api/v1/functions{path_of(function_id)}/revisions{path_of(revision) if revision else ''}"


def history(udf: Udf, limit: int | None = None) -> list[Revision]:
    """``Udf.history``."""
    from fused._saved import _saved_id

    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 0):
        raise ValueError(f"limit={limit!r} is not a whole number from 0 up")
    found: list[Revision] = []
    for each in _all(_saved_id(udf), udf.name, limit or PAGE):
        if limit is not None and len(found) >= limit:
            break
        found.append(each)
    return found


def _all(function_id: str, name: str, size: int = PAGE) -> Iterator[Revision]:
    from fused._saved import pages

    for each in pages(_path(function_id), f"asking for the history of {name!r}", {}, min(max(size, 1), PAGE)):
        yield Revision.of_json(each, function_id)


def find(udf: Udf, revision: str | int | Revision) -> Revision:
    """The revision of this number, or with this id, or the only one whose id begins so; ``NotFoundError``."""
    from fused._saved import _saved_id

    identity = _saved_id(udf)
    if isinstance(revision, Revision):
        if revision.function_id != identity:
            raise ValueError(f"revision {revision.number} ({revision.id}) is of another function than {udf.name!r}")
        return revision
    if isinstance(revision, bool) or not isinstance(revision, str | int) or revision == "":
        raise TypeError(f"revision={revision!r} is not a number, an id or one of udf.history()")
    wanted = str(revision).strip().lower().removeprefix("#")
    by_number = wanted.isdecimal() and len(wanted) < 8  # the first part of an id has eight places
    found = []
    newest = 0
    for each in _all(identity, udf.name):
        newest = max(newest, each.number)
        if (by_number and each.number == int(wanted)) or each.id == wanted:
            return each
        if not by_number and each.id.startswith(wanted):
            found.append(each)
    if len(found) == 1:
        return found[0]
    if found:
        numbers = ", ".join(str(each.number) for each in found[:5])
        raise ValueError(f"{revision!r} is the beginning of the ids of revisions {numbers}: give more of it")
    raise NotFoundError(
        f"{udf.name!r} has no revision {revision!r}; its revisions are 1 to {newest} (`fused udf history {udf.name}`)",
        status=404,
    )


def load_revision(udf: Udf, revision: str | int | Revision) -> Udf:
    """The saved function as it was."""
    found = find(udf, revision)
    loaded = _load(found.function_id, found.id)
    loaded.collection_id, loaded.collection_name = udf.collection_id, udf.collection_name
    return loaded


def _load(function_id: str, revision_id: str) -> Udf:
    from fused._saved import udf_of_record

    record = call_json("GET", _path(function_id, revision_id), f"loading revision {revision_id}")
    try:
        given = {"id": record["udf_id"], "revision": record["revision_id"], "udf_body": record["udf_body"]}
        given |= {"slug": record.get("slug"), "collection_name": record.get("collection_name")}
    except (KeyError, TypeError) as error:
        raise ServerError(f"the server's record of a revision cannot be read: {error!r}") from None
    return udf_of_record(given)


def revert(udf: Udf, revision: str | int | Revision, message: str | None, if_revision: str | None) -> Udf:
    """``Udf.revert``."""
    from fused._saved import udf_of_record

    found = find(udf, revision)
    headers = None if if_revision is None else {"If-Match": json.dumps(if_revision)}
    value = {} if message is None else {"message": message}
    path = _path(found.function_id, found.id) + "/revert"
    what = f"going back to revision {found.number} of {udf.name!r}"
    record = call_json("POST", path, what, value=value, headers=headers)
    saved = udf_of_record(record)
    udf.__dict__.update(saved.__dict__)
    return udf
