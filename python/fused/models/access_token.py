"""``UdfAccessToken``: a share token. Whoever has it may run the one function it was made for."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any
from urllib.parse import quote, urlencode

from fused._duration import parse_lifetime
from fused._transport import call_json, path_of, shared_url


@dataclass(repr=False)
class UdfAccessToken:
    """The server's record of a share token. ``token`` is the secret itself; ``expires_at`` is a time in UTC or None;
    ``table``: the name of the table that it opens, where it is not a function's.
    """

    token: str
    udf_id: str | None = None
    udf_slug: str | None = None
    udf_email: str | None = None
    enabled: bool = True
    owning_user_id: str | None = None
    owning_execution_environment_id: str | None = None
    client_id: str | None = None
    public_read: bool | None = None
    access_scope: str | None = None
    cache: bool = True
    metadata_json: dict[str, Any] = field(default_factory=dict)
    last_updated: str | None = None
    expires_at: str | None = None
    table: str | None = None

    @classmethod
    def of_json(cls, value: Mapping[str, Any]) -> UdfAccessToken:
        """From the server's record; keys it does not know are left out."""
        known = {each.name for each in fields(cls)}
        return cls(**{key: item for key, item in value.items() if key in known})

    def get_file_url(self, format: str | None = None, **parameters: Any) -> str:
        """The address that runs the function; ``format`` as ``"json"``, further keywords become parameters."""
        return _with_query(f"{shared_url(self.token)}/run/file", format, parameters)

    def get_tile_url(
        self,
        x: int | None = None,
        y: int | None = None,
        z: int | None = None,
        format: str | None = None,
        **parameters: Any,
    ) -> str:
        """The address of one tile, or the template with ``{z}/{x}/{y}`` that maps want when no number is given."""
        numbers = "/".join(
            "{" + name + "}" if value is None else str(value) for name, value in (("z", z), ("x", x), ("y", y))
        )
        return _with_query(f"{shared_url(self.token)}/run/tiles/{numbers}", format, parameters)

    def get_map_url(self, format: str | None = None, **parameters: Any) -> str:
        """The address of a map of the function's tiles, to look at; ``format``: ``"mvt"`` (default) or a picture's."""
        return _with_query(f"{shared_url(self.token)}/map", format, parameters)

    def refresh(self, inplace: bool = False) -> UdfAccessToken:
        """The record as it is on the server now."""
        return self._take(call_json("GET", self._path(), "reading a share token"), inplace)

    def update(
        self,
        client_id: str | None = None,
        cache: bool | None = None,
        metadata_json: Mapping[str, Any] | None = None,
        public_read: bool | None = None,
        access_scope: str | None = None,
        enabled: bool | None = None,
        inplace: bool = False,
        expires_in: str | int | None = None,
    ) -> UdfAccessToken:
        """Changes what is given; ``enabled=False`` switches the token off until it is switched on again."""
        given = {
            "client_id": client_id,
            "cache": cache,
            "metadata_json": None if metadata_json is None else dict(metadata_json),
            "public_read": public_read,
            "access_scope": access_scope,
            "enabled": enabled,
            "expires_in": None if expires_in is None else parse_lifetime(expires_in, "expires_in"),
        }
        changes = {name: value for name, value in given.items() if value is not None}
        if not changes:
            raise ValueError(f"update() was given nothing to change; it changes {', '.join(given)}")
        return self._take(call_json("POST", self._path(), "changing a share token", value=changes), inplace)

    def delete(self) -> None:
        """Revokes the token: the next request with it is refused."""
        call_json("DELETE", self._path(), "revoking a share token")

    def _path(self) -> str:
        return f"/udf-access-token/by-token{path_of(self.token)}"

    def _take(self, value: Mapping[str, Any], inplace: bool) -> UdfAccessToken:
        known = {each.name for each in fields(self)} - {"token"}
        changes = {key: item for key, item in value.items() if key in known}
        if not inplace:
            return replace(self, **changes)
        for key, item in changes.items():
            setattr(self, key, item)
        return self

    def __repr__(self) -> str:
        off = "" if self.enabled else ", switched off"
        if self.table is not None:
            return f"<UdfAccessToken {self.token} for the table {self.table!r}{off}>"
        return f"<UdfAccessToken {self.token} for {self.udf_slug!r}{off}: {self.get_file_url()}>"

    def _repr_html_(self) -> str:
        url = html.escape(self.get_file_url(), quote=True)
        tiles = html.escape(self.get_map_url(), quote=True)
        return f'<div>{html.escape(str(self.udf_slug))}: <a href="{url}">{url}</a> · <a href="{tiles}">map</a></div>'


class UdfAccessTokenList(list[UdfAccessToken]):
    """Share tokens, shown one a line."""

    def __repr__(self) -> str:
        return "\n".join(map(repr, self)) if self else "no share tokens"


def _with_query(url: str, format: str | None, parameters: Mapping[str, Any]) -> str:
    from fused._run.parameters import encode_parameters, parameter_text

    asked = {"format": format} | encode_parameters(parameters)
    given = {name: parameter_text(value) for name, value in asked.items() if value is not None}
    text = urlencode(given, quote_via=quote)
    return f"{url}?{text}" if text else url
