"""Saved functions and their share tokens, over the routes of client-protocol.md §2.1 and §2.5."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from fused._transport import call_json, path_of
from fused._udf import check_name
from fused.errors import ConflictError, NotFoundError, RevisionError, ServerError
from fused.models.access_token import UdfAccessToken, UdfAccessTokenList
from fused.models.udf import Udf

OURS = ("fused:id", "fused:slug", "fused:name", "fused:revision")  # kept in the object's metadata, not in what is saved
PAGE = 300
TOKEN_PAGE = 25


def whoami() -> dict[str, Any]:
    """The record of the user whose token is in force."""
    return dict(call_json("GET", "/user/self", "asking who is signed in"))


def save(
    udf: Udf,
    slug: str | None,
    over_id: str | None,
    as_new: bool | None,
    inplace: bool,
    overwrite: bool | None,
    collection_name: str | None,
    message: str | None = None,
    if_revision: str | None = None,
) -> Udf:
    """``Udf.to_fused``; ``ConflictError`` (a ``ValueError``) with a diff when the name is taken by other code."""
    if as_new and (over_id or overwrite):
        raise ValueError("as_new=True never overwrites, over_id and overwrite=True do: give one")
    name = check_name(slug or udf.name)
    collection = collection_name or udf.collection_name or "default"
    email = whoami()["email"]
    identity = over_id or (None if as_new else udf.id)
    if identity is None and overwrite:
        remote = _record_by_name(email, name, collection)
        identity = None if remote is None else remote["id"]
    body = {
        "slug": name,
        "udf_body": _body_text(udf, name),
        "udf_type": "auto",
        "allow_public_read": False,
        "allow_public_list": False,
        "collection_id": None if identity else _collection_id(collection),
    }
    if message:
        body["message"] = message
    headers = None
    if if_revision is not None:
        if identity is None:
            raise ValueError(f"if_revision={if_revision!r}: nothing is saved under {name!r} that it could name")
        headers = {"If-Match": f'"{if_revision}"'}
    path = "/udf/new" if identity is None else f"/udf/by-id{path_of(identity)}"
    try:
        record = call_json("POST", path, f"saving {name!r}", value=body, headers=headers)
    except RevisionError:
        raise
    except ConflictError as error:
        raise ConflictError(
            _conflict(error, udf, email, name, collection), status=409, request_id=error.request_id
        ) from None
    except NotFoundError as error:
        if identity is None:
            raise
        raise NotFoundError(
            f"{error.message}: the saved function was deleted meanwhile; save it anew with to_fused(as_new=True)",
            status=404,
            request_id=error.request_id,
        ) from None
    saved = udf if inplace else udf.copy()
    saved.name = name
    saved.metadata = {**(saved.metadata or {}), "fused:id": record["id"], "fused:slug": record.get("slug") or name}
    if record.get("revision"):
        saved.metadata["fused:revision"] = record["revision"]
    saved.collection_id = record.get("collection_id") or saved.collection_id
    saved.collection_name = record.get("collection_name") or collection
    return saved


def _body_text(udf: Udf, name: str) -> str:
    value = udf.to_json()
    value["name"] = name
    if value["metadata"] is not None:
        value["metadata"] = {key: item for key, item in value["metadata"].items() if key not in OURS}
    return json.dumps(value, ensure_ascii=False)


def _collection_id(name: str) -> Any:
    if name == "default":
        return None
    try:
        return call_json("GET", f"/collection/by-name{path_of(name)}", f"looking for the collection {name!r}")["id"]
    except NotFoundError as error:
        raise NotFoundError(
            f"this server has no collection {name!r}; save into 'default'", status=404, request_id=error.request_id
        ) from None


def _conflict(error: ConflictError, udf: Udf, email: str, name: str, collection: str) -> str:
    remote = _record_by_name(email, name, collection)
    if remote is None:
        return error.message
    theirs = udf_of_record(remote).code.splitlines()
    lines = list(difflib.unified_diff(theirs, udf.code.splitlines(), "saved", "this one", lineterm="", n=1))
    shown = "\n".join(lines[:60]) if lines else "(the code is the same)"
    advice = "to_fused(overwrite=True) replaces it, or save under another name (slug=…)"
    return f"{name!r} is saved already; {advice}.\n{shown}"


def _record_by_name(email: str, name: str, collection: str) -> dict[str, Any] | None:
    try:
        return dict(call_json("GET", _name_path(email, collection, name), f"looking for {name!r}"))
    except NotFoundError:
        return None


def _name_path(owner: str, collection: str, name: str) -> str:
    by = "by-user-email" if "@" in owner else "by-user-handle"
    first = "/udf/exec-env/self" if owner == "team" else f"/udf/{by}{path_of(owner)}"
    return f"{first}/by-collection{path_of(collection)}/by-slug{path_of(name)}"


def udf_of_record(record: Mapping[str, Any]) -> Udf:
    """The Udf in a record of the server (``udf_body`` is JSON text); ``ServerError`` when it is none."""
    try:
        body = record["udf_body"]
        udf = Udf.of_json(json.loads(body) if isinstance(body, str) else body)
    except (KeyError, TypeError, ValueError) as error:
        raise ServerError(
            f"the server's record of a function cannot be read: {type(error).__name__}: {error}"
        ) from None
    slug = record.get("slug") or udf.name
    metadata = {"fused:slug": slug, **(udf.metadata or {})}
    if record.get("id"):
        metadata["fused:id"] = record["id"]
    if record.get("revision"):
        metadata["fused:revision"] = record["revision"]
    udf.metadata = metadata
    udf.collection_id = record.get("collection_id") or udf.collection_id
    udf.collection_name = record.get("collection_name") or udf.collection_name
    return udf


def load_by_name(owner: str | None, name: str, collection: str | None = None) -> Udf:
    """A saved function by ``owner`` (e-mail, handle, ``team``; None: whose token is in force) and name."""
    mine = owner is None
    whose = whoami()["email"] if owner is None else owner
    try:
        record = call_json("GET", _name_path(whose, collection or "default", name), f"loading {name!r}")
    except NotFoundError as error:
        near = difflib.get_close_matches(name, list(list_saved()) if mine else [], n=3)
        advice = f" Did you mean {' or '.join(map(repr, near))}?" if near else " `fused udf list` shows what there is."
        message = f"{whose} has no saved function {name!r}.{advice}"
        raise NotFoundError(message, status=404, request_id=error.request_id) from None
    return udf_of_record(record)


def load_by_id(identity: str) -> Udf:
    """A saved function by its UUID; ``NotFoundError``."""
    return udf_of_record(call_json("GET", f"/udf/by-id{path_of(identity)}", f"loading the function with id {identity}"))


def load_by_token(token: str) -> Udf:
    """The function behind a share token; only whoever may read its code gets it."""
    return udf_of_record(
        call_json("GET", f"/udf/shared/by-token{path_of(token)}", "loading a function by its share token")
    )


def pages(path: str, what: str, query: Mapping[str, Any], size: int, skip: int = 0) -> Iterator[dict[str, Any]]:
    """Records of a route with ``skip`` and ``limit``, page by page until an empty one."""
    while True:
        page = call_json("GET", path, what, query={**query, "skip": skip, "limit": size})
        yield from page
        if not page:
            return
        skip += len(page)


def list_saved(
    n: int | None = None, skip: int = 0, by: str = "name", whose: str = "self", collection_name: str | None = None
) -> dict[str, Udf]:
    """Saved functions by name, slug or id, oldest first as the server gives them."""
    if by not in ("name", "slug", "id"):
        raise ValueError(f"by={by!r} is unknown; it is 'name', 'slug' or 'id'")
    paths = {"self": "/udf/self", "public": "/udf/public", "team": "/udf/exec-env/self"}
    if whose not in paths:
        raise ValueError(f"whose={whose!r} is unknown; it is 'self', 'team' or 'public'")
    found: dict[str, Udf] = {}
    for record in pages(paths[whose], "listing saved functions", {}, PAGE if n is None else min(n, PAGE), skip):
        udf = udf_of_record(record)
        if collection_name is not None and (udf.collection_name or "default") != collection_name:
            continue
        slug = (udf.metadata or {}).get("fused:slug") or udf.name
        found[{"name": udf.name, "slug": slug, "id": udf.id or slug}[by]] = udf
        if n is not None and len(found) >= n:
            break
    return found


def _saved_id(udf: Udf) -> str:
    if udf.id is None:
        raise ValueError(f"{udf.name!r} is not saved; save it with .to_fused(), or load the saved one with fused.load")
    return udf.id


def delete(udf: Udf, inplace: bool) -> Udf:
    """``Udf.delete_saved``."""
    call_json("DELETE", f"/udf/by-id{path_of(_saved_id(udf))}", f"deleting {udf.name!r}")
    target = udf if inplace else udf.copy()
    target.metadata = {key: value for key, value in (target.metadata or {}).items() if key not in OURS}
    return target


def create_access_token(udf: Udf, settings: Mapping[str, Any]) -> UdfAccessToken:
    """``Udf.create_access_token``."""
    from fused._run.remote import client_id

    value = {
        **settings,
        "udf_id": _saved_id(udf),
        "udf_slug": (udf.metadata or {}).get("fused:slug") or udf.name,
        "client_id": settings["client_id"] or client_id(),
    }
    return UdfAccessToken.of_json(call_json("POST", "/udf-access-token/new", f"sharing {udf.name!r}", value=value))


def access_tokens(udf: Udf | None = None) -> UdfAccessTokenList:
    """Share tokens, of one saved function or all of the user's."""
    wanted = None if udf is None else _saved_id(udf)
    records = pages("/udf-access-token/self", "listing share tokens", {}, TOKEN_PAGE)
    return UdfAccessTokenList(UdfAccessToken.of_json(each) for each in records if wanted in (None, each.get("udf_id")))
