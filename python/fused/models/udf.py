"""``Udf``: a function that can be run, saved, shared and written to files. ``GeoPandasUdfV2`` is its name in the
seed.
"""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from fused._code import CodeDescription, describe_code, run_module
from fused._duration import parse_duration, parse_lifetime
from fused._inside import in_running_function
from fused._limits import check_limits, check_on_timeout
from fused._source import Snapshot
from fused.errors import SourceError
from fused.models.header import Header
from fused.models.schema import Schema

if TYPE_CHECKING:
    from types import ModuleType

    from fused._jobs.schedule import Schedule
    from fused._revisions import Revision
    from fused._run.evaluation import UdfEvaluationResult
    from fused._submit.job_pool import JobPool
    from fused.models.access_token import UdfAccessToken, UdfAccessTokenList


class Udf:
    """A function and all that travels with it.

    ``name``; ``entrypoint``: the name of the Python function; ``code``: its text with decorators; ``headers``:
    modules it imports; ``parameters``: values stored in the object, beneath those of a call; ``cache_max_age``: whole
    seconds or None; ``table_schema``: the ``Schema`` stated in the decorator or None; ``metadata``: free JSON
    (``fused:id`` when saved).
    """

    type: ClassVar[str] = "geopandas_v2"
    import_globals: bool = True  # may the code be run here to give its names

    def __init__(
        self,
        name: str,
        code: str | None = None,
        *,
        fn: Callable[..., Any] | None = None,
        source: Snapshot | None = None,
        entrypoint: str | None = None,
        headers: Sequence[Header] = (),
        parameters: Mapping[str, Any] | None = None,
        cache_max_age: int | None = None,
        table_schema: Schema | None = None,
        metadata: Mapping[str, Any] | None = None,
        engine: str | None = None,
        instance_type: str | None = None,
        disk_size_gb: int | None = None,
        region: str | None = None,
        collection_id: str | None = None,
        collection_name: str | None = None,
        limits: Mapping[str, int | float] | None = None,
        on_timeout: str | None = None,
    ) -> None:
        self.name = name
        self._code = code
        self._fn = fn
        self._source = source
        self._entrypoint = entrypoint or (fn.__name__ if fn is not None else None)
        self._described: CodeDescription | None = None
        self._module: Mapping[str, Any] | None = None
        self.headers = list(headers)
        self.parameters = dict(parameters or {})
        self.cache_max_age = cache_max_age
        self.table_schema = table_schema
        self.metadata = dict(metadata) if metadata is not None else None
        self.engine = engine
        self.instance_type = instance_type
        self.disk_size_gb = disk_size_gb
        self.region = region
        self.collection_id = collection_id
        self.collection_name = collection_name
        self._limits = None if limits is None else dict(limits)
        self._on_timeout = on_timeout
        if fn is not None:
            self.__doc__ = fn.__doc__
            self.__wrapped__ = fn
            self.__module__ = fn.__module__

    # -- what it is -------------------------------------------------------------------------------------------------

    @property
    def code(self) -> str:
        """The text that is sent and saved; ``SourceError`` where Python kept none. Assign to it to edit it."""
        if self._code is None:
            if self._source is None:
                raise SourceError(f"{self.name!r} has no code")
            self._code = self._source.text()
        return self._code

    @code.setter
    def code(self, text: str) -> None:
        self._code, self._fn, self._source, self._described, self._module = text, None, None, None, None

    @property
    def entrypoint(self) -> str:
        """The name of the Python function in ``code`` that is called."""
        return self._entrypoint or self.described.entrypoint

    @property
    def described(self) -> CodeDescription:
        """Parameters and decorator of the entry point, read from the text; nothing is run."""
        if self._described is None:
            if self._fn is not None:
                self._described = _describe_function(self._fn)
            else:
                self._described = describe_code(self.code, self._entrypoint, self.name)
        return self._described

    @property
    def limits(self) -> dict[str, int | float]:
        """What the decorator asks for, less than the server's limits: ``{"wall_seconds": 10}``; empty where nothing."""
        return check_limits(self._stated("limits", self._limits) or {})

    @property
    def on_timeout(self) -> str | None:
        """What the decorator wants of a run that reaches its wall limit: ``"job"``, ``"error"`` or None: nothing."""
        return check_on_timeout(self._stated("on_timeout", self._on_timeout))

    def _stated(self, name: str, given: Any) -> Any:
        return self.described.keywords.get(name) if given is None and self._fn is None else given

    @property
    def fn(self) -> Callable[..., Any]:
        """The plain Python function. For a loaded Udf its module is run here, once, when this is first asked for."""
        if self._fn is None:
            found = self._names().get(self.entrypoint)
            self._fn = found.fn if isinstance(found, Udf) else found
        if not callable(self._fn):
            raise SourceError(f"{self.entrypoint!r} of {self.name!r} is not a function after its code was run")
        return self._fn

    def _names(self) -> Mapping[str, Any]:
        if self._module is None:
            self._module = run_module(self.code, self.name, self.header_modules)
        return self._module

    def header_modules(self) -> AbstractContextManager[None]:
        """Inside ``with udf.header_modules():`` its headers can be imported."""
        from fused._header_modules import importable

        return importable(self.headers)

    @property
    def utils(self) -> ModuleType:
        """The first header, as a module."""
        if not self.headers:
            raise AttributeError(f"{self.name!r} has no headers")
        import importlib

        with self.header_modules():
            return importlib.import_module(self.headers[0].module_name)

    @property
    def id(self) -> str | None:
        """The id of the saved function; None when it was neither saved nor loaded."""
        return None if self.metadata is None else self.metadata.get("fused:id")

    @property
    def revision(self) -> str | None:
        """The id of the revision that was loaded or saved last; None when there is none."""
        return None if self.metadata is None else self.metadata.get("fused:revision")

    def __getattr__(self, name: str) -> Any:
        # Reached only for names that Udf does not have: those of the function's module, `fused.load("common").area`.
        if name.startswith("_") or "_code" not in self.__dict__ or (self._fn is not None and self._code is None):
            raise AttributeError(f"Udf has no attribute {name!r}")
        if not self.import_globals:
            raise AttributeError(f"Udf has no attribute {name!r}; import_globals=False: its code is not run for names")
        names = self._names()
        if name not in names:
            raise AttributeError(f"neither Udf nor the code of {self.name!r} has a name {name!r}")
        return names[name]

    # -- calling it -------------------------------------------------------------------------------------------------

    def __call__(self, *args: Any, arg_list: Any = None, **kwargs: Any) -> Any:
        """Outside of a running function: a ``UdfJobStepConfig`` with these parameters (seed: ``job = udf()``).

        Inside of one, without ``arg_list``: runs it and returns the result.
        """
        from fused.models.step import UdfJobStepConfig, arguments_of_list

        parameters = self.bind(args, kwargs)
        if arg_list is None and in_running_function():
            from fused._run.run import run

            return run(self, parameters=parameters)
        items = None if arg_list is None else arguments_of_list(arg_list, self, parameters)
        return UdfJobStepConfig(udf=self.set_parameters(parameters), input=items)

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Positional and named arguments by name; ``TypeError`` for those the function does not have."""
        bound = {**kwargs, **self.names_of_positions(args, kwargs)}
        self.check_names(bound)
        return bound

    def names_of_positions(self, args: Sequence[Any], named: Container[str] = ()) -> dict[str, Any]:
        """Arguments given by position, by name; ``TypeError`` for too many, and for one that is in ``named`` too."""
        names = self.described.parameters if args else ()
        if len(args) > len(names):
            raise TypeError(f"{self.name} takes {len(names)} parameters, {len(args)} were given by position")
        twice = [name for name in names[: len(args)] if name in named]
        if twice:
            raise TypeError(f"{self.name} got {twice[0]!r} twice, by position and by name")
        return dict(zip(names, args, strict=False))

    def check_names(self, parameters: Mapping[str, Any]) -> None:
        """``TypeError`` for names that the function does not declare, unless it takes ``**kwargs``."""
        described = self.described
        unknown = [name for name in parameters if name not in described.parameters]
        if unknown and not described.takes_any_keyword:
            known = ", ".join(described.parameters) or "none"
            raise TypeError(
                f"{self.name} has no parameter {', '.join(map(repr, unknown))}; its parameters are: {known}"
            )

    def set_parameters(
        self, parameters: Mapping[str, Any], replace_parameters: bool = False, inplace: bool = False
    ) -> Udf:
        """Stores values in the object: added to those it has, or instead of them. A copy unless ``inplace``."""
        target = self if inplace else self.copy()
        target.parameters = {**({} if replace_parameters else target.parameters), **parameters}
        return target

    def copy(self) -> Udf:
        """An independent object; the function itself is shared."""
        twin = copy.copy(self)
        twin.headers, twin.parameters = list(self.headers), dict(self.parameters)
        twin.metadata = None if self.metadata is None else dict(self.metadata)
        return twin

    def eval_schema(self, inplace: bool = False) -> Udf:
        """Reads ``schema=`` in the decorator of ``code`` again (after ``code`` was edited) and keeps it."""
        target = self if inplace else self.copy()
        described = describe_code(target.code, target._entrypoint, target.name)
        stated = described.keywords.get("schema")
        target.table_schema = None if stated is None else Schema.parse(stated)
        return target

    def run_local(self, inplace: bool = False, validate_output: bool = False, **kwargs: Any) -> UdfEvaluationResult:
        """Runs in this process. The result's ``data`` is the value and its repr shows the schema to paste.

        ``inplace`` keeps that schema in this object. ``validate_output`` compares with the schema of the decorator and
        warns (``FusedTypeWarning``) where they differ.
        """
        from fused._run.local import run_local

        return run_local(self, kwargs, inplace=inplace, validate_output=validate_output)

    def map(
        self,
        arg_list: Any,
        engine: str | None = None,
        max_workers: int | None = None,
        worker_concurrency: int | None = None,
        **kwargs: Any,
    ) -> JobPool:
        """``fused.submit(self, arg_list, …)``: one call for each item, at once a ``JobPool``. ``engine``: as
        ``fused.run`` decides. Takes what ``fused.submit`` takes.
        """
        from fused._submit.submit import submit_map

        given = {"engine": engine, "max_workers": max_workers, "worker_concurrency": worker_concurrency, **kwargs}
        return submit_map(self, arg_list, given)

    # -- on a server ------------------------------------------------------------------------------------------------

    def to_fused(
        self,
        slug: str | None = None,
        over_id: str | None = None,
        as_new: bool | None = None,
        inplace: bool = True,
        *,
        overwrite: bool | None = None,
        collection_name: str | None = None,
        message: str | None = None,
        if_revision: str | None = None,
    ) -> Udf:
        """Saves on the server and returns the saved Udf (this one, with its id, when ``inplace``).

        ``slug``: the name to save under. A name that is taken is an error unless this object was loaded from it, or
        ``overwrite=True``, or ``over_id`` names it; ``as_new=True`` never overwrites.
        ``message``: what was changed, for ``history``. ``if_revision=udf.revision``: only when nobody saved since,
        else ``RevisionError``; without it both saves are kept and the later is the current one.
        """
        from fused._saved import save

        return save(self, slug, over_id, as_new, inplace, overwrite, collection_name, message, if_revision)

    def delete_saved(self, inplace: bool = True) -> Udf:
        """Deletes the saved function with its share tokens; this object stays and forgets its id when ``inplace``."""
        from fused._saved import delete

        return delete(self, inplace)

    def history(self, limit: int | None = None) -> list[Revision]:
        """What was saved under this function, newest first: of each its id, number, time, author and message.

        ``revision.load()`` is the function as it was then.
        """
        from fused._revisions import history

        return history(self, limit)

    def revert(self, revision: str | int | Revision, message: str | None = None, if_revision: str | None = None) -> Udf:
        """Saves an earlier revision again, as the newest, and makes this object that. What came between is kept.

        ``revision``: one of ``history``, its number, or its id or how that begins. ``message``, ``if_revision``: as for
        ``to_fused``.
        """
        from fused._revisions import revert

        return revert(self, revision, message, if_revision)

    def invalidate_cache(self, z: int | None = None, x: int | None = None, y: int | None = None) -> None:
        """Drops what the server keeps of its results; with ``z``, ``x`` and ``y`` only that of this tile."""
        from fused._invalidate import invalidate_cache

        invalidate_cache(self, z, x, y)

    def create_access_token(
        self,
        *,
        client_id: str | None = None,
        public_read: bool | None = None,
        access_scope: str | None = None,
        cache: bool = True,
        metadata_json: Mapping[str, Any] | None = None,
        enabled: bool = True,
        expires_in: str | int | None = None,
    ) -> UdfAccessToken:
        """A share token: whoever has it may run this one saved function, and nothing else.

        ``expires_in``: ``"7d"`` or seconds, after which it is refused; default: never.
        """
        from fused._saved import create_access_token

        settings: dict[str, Any] = {
            "client_id": client_id,
            "public_read": public_read,
            "access_scope": access_scope,
            "cache": cache,
            "metadata_json": dict(metadata_json or {}),
            "enabled": enabled,
        }
        if expires_in is not None:
            settings["expires_in"] = parse_lifetime(expires_in, "expires_in")
        return create_access_token(self, settings)

    def get_access_tokens(self) -> UdfAccessTokenList:
        """The share tokens of this saved function."""
        from fused._saved import access_tokens

        return access_tokens(self)

    def schedule(
        self,
        minute: int | Sequence[int] | str | None = None,
        hour: int | Sequence[int] | None = None,
        day_of_month: int | Sequence[int] | None = None,
        month: int | Sequence[int] | None = None,
        day_of_week: int | Sequence[int] | None = None,
        udf_args: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        enabled: bool = True,
        _create_udf: bool = True,
        **kwargs: Any,
    ) -> Schedule:
        """Runs as a job again and again: ``udf.schedule(0, 6)`` at six, ``udf.schedule("*/15 * * * mon-fri")``.

        The saved function is run; where this one is not saved, or was changed, it is saved first (``_create_udf``). A
        schedule that it has already is changed. ``day_of_week``: 0 is Sunday. ``udf_args``: its arguments, or a list of
        them, a task for each. ``kwargs``: ``cron``, ``time_zone`` ("UTC"), ``overlap`` ("skip", "queue",
        "cancel_running": what happens while the last one still runs), ``catch_up`` ("none", "last", "all": of times
        that the server missed), ``jitter`` ("5m"), ``on_failure`` (a saved function), ``instance_type``, ``name``,
        ``description`` (docs/guides/schedules.md).
        """
        from fused._jobs.schedule import schedule_udf

        return schedule_udf(
            self, minute, hour, day_of_month, month, day_of_week, udf_args, enabled, _create_udf, **kwargs
        )

    def get_schedule(self) -> list[Schedule]:
        """The schedules of this saved function."""
        from fused._jobs.schedule import schedules_of

        return schedules_of(self)

    # -- in files ---------------------------------------------------------------------------------------------------

    def to_directory(self, where: str | Path | None = None, overwrite: bool = False) -> Path:
        """Writes ``meta.json``, ``README.md``, ``<name>.py`` and the headers into a folder (default: ``./<name>``)."""
        from fused._export import to_directory

        return to_directory(self, where, overwrite)

    def to_file(self, where: str | Path, overwrite: bool = False) -> Path:
        """The same as one ``.zip`` file, or the text alone when ``where`` ends in ``.py``."""
        from fused._export import to_file

        return to_file(self, where, overwrite)

    def to_json(self) -> dict[str, Any]:
        """The record that travels (client-protocol.md §3); parameters must be JSON by then."""
        from fused._run.parameters import encode_parameters

        return {
            "name": self.name,
            "type": self.type,
            "code": self.code,
            "headers": [header.to_json() for header in self.headers],
            "metadata": self.metadata,
            "collection_id": self.collection_id,
            "collection_name": self.collection_name or "default",
            "entrypoint": self.entrypoint,
            "cache_max_age": self.cache_max_age,
            "engine": self.engine,
            "disk_size_gb": self.disk_size_gb,
            "region": self.region,
            "parameters": encode_parameters(self.parameters),
            "table_schema": None if self.table_schema is None else self.table_schema.to_json(),
            "original_headers": None,
        }

    model_dump = to_json

    def model_dump_json(self) -> str:
        return json.dumps(self.to_json(), ensure_ascii=False)

    @classmethod
    def of_json(cls, value: Mapping[str, Any]) -> Udf:
        """From such a record; keys it does not know are left out."""
        age = value.get("cache_max_age")
        schema = value.get("table_schema")
        return cls(
            str(value.get("name") or "udf"),
            str(value.get("code") or ""),
            entrypoint=value.get("entrypoint") or None,
            headers=[Header.of_json(each) for each in value.get("headers") or []],
            parameters=value.get("parameters"),
            cache_max_age=None if age is None else parse_duration(age),
            table_schema=None if schema is None else Schema.parse(schema),
            metadata=value.get("metadata") or {},
            engine=value.get("engine"),
            disk_size_gb=value.get("disk_size_gb"),
            region=value.get("region"),
            collection_id=value.get("collection_id"),
            collection_name=value.get("collection_name"),
        )

    model_validate = of_json

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Udf) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash((self.name, self._entrypoint))

    def _identity(self) -> tuple[Any, ...]:
        code = self._fn if self._code is None else self._code
        return (self.name, code, self._entrypoint, self.headers, self.parameters, self.cache_max_age)

    def __repr__(self) -> str:
        from fused._show import udf_text

        return udf_text(self)

    def _repr_html_(self) -> str:
        from fused._show import udf_html

        return udf_html(self)


def _describe_function(fn: Callable[..., Any]) -> CodeDescription:
    parameters = inspect.signature(fn).parameters.values()
    named = tuple(each.name for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD))
    any_keyword = any(each.kind is each.VAR_KEYWORD for each in parameters)
    return CodeDescription(fn.__name__, named, any_keyword, {}, inspect.getdoc(fn))


AnyBaseUdf = Udf
GeoPandasUdfV2 = Udf
GeoPandasUdfV2Callable = Udf
