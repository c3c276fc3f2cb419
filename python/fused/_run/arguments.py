"""``fused.run``'s arguments, checked: the seed's ``ValueError``, ``TypeError`` and warnings, before anything runs."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fused._duration import parse_duration
from fused._inside import channel, local_depth
from fused._limits import check_on_timeout
from fused._options import FORMATS, options
from fused.errors import ConfigurationError
from fused.models.step import UdfJobStepConfig
from fused.models.udf import Udf
from fused.warnings import FusedDeprecationWarning, FusedIgnoredWarning, warn_caller

Tile = tuple[int, int, int]  # z, x, y
TILE_ZOOM_MAX = 24
_TOKEN = re.compile(r"[0-9a-f]{64}\Z|(fsh|fc|UDF)_[A-Za-z0-9_-]+\Z")
# Older ways to say which function: fused.run(token=…), fused.run(udf_email=…, udf_name=…).
_OLDER = ("token", "udf_email", "udf_name")


@dataclass
class Call:
    """One call of ``fused.run``: exactly one of ``udf``, ``name`` and ``token`` says what runs."""

    udf: Udf | None = None
    name: str | None = None  # "name", "email/name" or a UUID
    token: str | None = None
    items: list[dict[str, Any]] | None = None  # of a step made with arg_list
    engine: str = "remote"
    tile: Tile | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    cache_max_age: int | None = None
    cache_reset: bool = False
    max_retry: int = 0
    formats: str | None = None
    whole_response: bool = False
    ignore_unknown: bool = False
    on_timeout: str = "function"  # at the wall limit: "job", "error", or what the function says
    follow_logs: Callable[[str, str], Any] | None = None  # is given each line as it is written: stream, line
    batch: dict[str, Any] | None = None  # as a job: its instance_type and disk_size_gb

    @property
    def label(self) -> str:
        """How messages call what runs."""
        return self.udf.name if self.udf is not None else self.name or "the shared function"

    def known_parameters(self, udf: Udf, parameters: dict[str, Any]) -> dict[str, Any]:
        """``parameters`` that ``udf`` has; ``TypeError`` for others, unless they are to be ignored."""
        described = udf.described
        if self.ignore_unknown and not described.takes_any_keyword:
            return {name: value for name, value in parameters.items() if name in described.parameters}
        udf.check_names(parameters)
        return parameters


def is_token(text: str) -> bool:
    """Does this text look like a share token: 64 hexadecimal digits, or ``fsh_…``, ``fc_…``, ``UDF_…``."""
    return _TOKEN.match(text) is not None


def is_uuid(text: str) -> bool:
    """Is this text a UUID in its usual form."""
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


def resolve_target(call: Call, udf: Any, args: Sequence[Any], keywords: dict[str, Any]) -> None:
    """Fills ``udf``, ``name`` or ``token`` from the first argument; takes older spellings out of ``keywords``.

    ``ValueError`` when nothing or more than one thing says what runs, ``TypeError`` for a first argument of another
    type.
    """
    older = {} if isinstance(udf, Udf | UdfJobStepConfig) or callable(udf) else _older(keywords, udf, args)
    if udf is None and not older:
        raise ValueError(
            "fused.run needs to know what to run: a name, 'email/name', a share token, a function made with "
            "@fused.udf, or a UdfJobStepConfig"
        )
    if older:
        call.token, call.name = older.get("token"), older.get("name")
    elif isinstance(udf, UdfJobStepConfig):
        if udf.udf is None:
            raise ValueError("this UdfJobStepConfig holds no function yet; give it one with set_udf(udf)")
        call.udf, call.items = udf.udf, udf.input
    elif isinstance(udf, Udf):
        call.udf = udf
    elif isinstance(udf, str):
        _resolve_text(call, udf)
    elif isinstance(udf, Callable) and hasattr(udf, "__code__"):  # type: ignore[arg-type]
        from fused._udf import udf as make

        call.udf = make(udf)
    else:
        raise TypeError(
            "the first parameter of fused.run is a name, 'email/name', a share token, a function or a "
            f"UdfJobStepConfig, not {type(udf).__name__}: {udf!r:.100}"
        )
    if call.udf is not None:
        keywords.update(call.udf.names_of_positions(args, keywords))
    elif args:
        if (
            call.token is not None
            or len(args) > 1
            or not isinstance(args[0], str)
            or call.name is None
            or "/" in call.name
        ):
            raise TypeError(
                f"fused.run({udf!r}, …) takes its parameters by name, as n=3; {args[0]!r} was given by position"
            )
        warn_caller(f"write fused.run('{udf}/{args[0]}')", FusedDeprecationWarning)
        call.name = f"{call.name}/{args[0]}"


def _older(keywords: dict[str, Any], udf: Any, args: Sequence[Any]) -> dict[str, Any]:
    given = {name: keywords.pop(name) for name in _OLDER if keywords.get(name) is not None}
    if not given:
        return {}
    if udf is not None or args or ("token" in given and len(given) > 1):
        said = [repr(udf)] if udf is not None else []
        raise ValueError(
            f"what to run is specified more than once: {', '.join([*said, *(f'{name}=' for name in given)])}. If the "
            "function has a parameter of that name, give it by parameters={…}"
        )
    warn_caller("give what to run as the first argument of fused.run", FusedDeprecationWarning)
    if "token" in given:
        return {"token": given["token"]}
    email, name = given.get("udf_email"), given.get("udf_name")
    if name is None:
        raise ValueError("udf_email= says whose function, udf_name= which: give both")
    return {"name": f"{email}/{name}" if email else name}


def _resolve_text(call: Call, text: str) -> None:
    if not text.strip():
        raise ValueError("fused.run was given an empty name")
    if "\n" in text:
        raise ValueError("fused.run was given code; make a function of it with fused.load(code)")
    if text.startswith(("https://", "http://")):
        raise ValueError(f"fused.run does not run addresses; load it first: fused.run(fused.load({text!r}))")
    if is_token(text):
        call.token = text
    else:
        call.name = text


def resolve_tile(call: Call, kind: str | None, x: Any, y: Any, z: Any) -> None:
    """All of x, y, z: a tile. Some of them, or ``type="file"``: ordinary parameters, with a warning when they are
    unknown.
    """
    if kind not in (None, "tile", "file"):
        raise ValueError(f"type={kind!r} is unknown; it is 'tile' or 'file'")
    given = {name: value for name, value in (("x", x), ("y", y), ("z", z)) if value is not None}
    if kind == "tile" and len(given) < 3:
        missing = ", ".join(name for name in "xyz" if name not in given)
        raise ValueError(f"type='tile' needs x, y and z; {missing} is missing")
    if len(given) == 3 and kind != "file":
        for name, value in given.items():
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{name} of a tile is a whole number, not {value!r}")
        side = 1 << z if 0 <= z <= TILE_ZOOM_MAX else 0
        if not side or not 0 <= x < side or not 0 <= y < side:
            raise ValueError(
                f"there is no tile z={z}, x={x}, y={y}: z is 0 to {TILE_ZOOM_MAX}, x and y are 0 to 2**z - 1"
            )
        call.tile = (z, x, y)
        return
    declared = None if call.udf is None else call.udf.described
    for name, value in given.items():
        if declared is None or declared.takes_any_keyword or name in declared.parameters:
            call.parameters[name] = value
        else:
            why = "type='file' is no tile" if kind == "file" else "a tile needs all of x, y and z"
            warn_caller(f"{name}={value!r} is ignored: {why}", FusedIgnoredWarning)


_BATCH_KINDS = re.compile(r"(small|medium|large|agent|[a-z][0-9][a-z]?\.[0-9a-z]+|[a-z][0-9]-[a-z]+-[0-9]+)\Z")


def batch_kind(call: Call, engine: str | None, instance_type: str | None) -> str | None:
    """The instance type, where the call asks for a job instead of a run at once: as ``instance_type``, as ``engine``,
    or in the function's decorator. Which there are the server knows. ``ValueError`` for a contradiction.
    """
    kind = None if instance_type == "realtime" else instance_type
    if kind is None and engine is not None and _BATCH_KINDS.match(engine):
        kind = engine
    if kind is None and engine is None and instance_type is None and call.udf is not None and not local_depth():
        stated = call.udf.instance_type or call.udf.engine
        kind = stated if stated is not None and _BATCH_KINDS.match(stated) else None
    if kind is None:
        return None
    if engine in ("local", "realtime"):
        raise ValueError(
            f"instance_type={kind!r} asks for a job on the server, engine={engine!r} for a run now: give one"
        )
    if not server_is_known():
        raise ConfigurationError(
            f"instance_type={kind!r} asks for a job, and no server is known: set fused.options.base_url or "
            "FUSED_BASE_URL"
        )
    return kind


def resolve_engine(call: Call, engine: str | None, instance_type: str | None, disk_size_gb: int | None) -> None:
    """Where it runs. ``ValueError`` for an engine that is unknown or an instance that only a batch job could have."""
    if engine is None and call.udf is not None and call.udf.engine in ("local", "remote", "realtime"):
        engine = call.udf.engine
    if engine is None and local_depth() and call.udf is not None:
        engine = "local"
    if engine is None:
        engine = options.default_udf_run_engine or ("remote" if server_is_known() else "local")
    if engine == "realtime":
        engine = "remote"
    if engine not in ("local", "remote"):
        raise ValueError(f"engine={engine!r} is unknown; engines are 'remote' and 'local'")
    if disk_size_gb is not None:
        raise ValueError(
            "disk_size_gb is for jobs (instance_type='small'); a run at once has the server's scratch limit "
            "(`fused serve --help`)"
        )
    if instance_type is not None and engine == "local":
        raise ValueError("instance_type='realtime' and engine='local' contradict each other: give one")
    call.engine = engine


def server_is_known() -> bool:
    """Is there anywhere to run but here."""
    return channel() is not None or options.base_url is not None


def resolve_age(
    call: Call, cache_max_age: str | int | None, cache: bool | None, cache_reset: bool | None = None
) -> None:
    """``cache_max_age`` in whole seconds; ``cache=False`` is 0. ValueError when both are given or cannot be read."""
    if cache_reset not in (None, True, False):
        raise ValueError(f"cache_reset={cache_reset!r} is not True or False")
    if cache_reset and cache is False:
        raise ValueError("cache=False keeps no result, cache_reset=True keeps a new one: give one")
    call.cache_reset = bool(cache_reset)
    if cache not in (None, True, False):
        raise ValueError(f"cache={cache!r} is not True or False")
    if cache is False and cache_max_age is not None:
        raise ValueError("cache=False and cache_max_age are two ways to say the same: give one")
    if cache is False:
        call.cache_max_age = 0
    elif cache_max_age is not None:
        call.cache_max_age = parse_duration(cache_max_age)
    if call.cache_max_age is not None and call.engine == "local":
        warn_caller("cache_max_age is ignored with engine='local': nothing is stored", FusedIgnoredWarning)
    if call.batch is not None and (call.cache_max_age or call.cache_reset):
        warn_caller(
            f"{'cache_reset' if call.cache_reset else 'cache_max_age'} is ignored with "
            f"instance_type={call.batch['instance_type']!r}: a job is run, never answered from stored results",
            FusedIgnoredWarning,
        )


def resolve_on_timeout(call: Call, on_timeout: Any) -> None:
    """``on_timeout="job"``: a run on the server that reaches its wall limit goes on as a job."""
    call.on_timeout = check_on_timeout(on_timeout) or "function"
    if on_timeout is not None and (call.engine == "local" or call.batch is not None):
        where = "a job" if call.batch is not None else "engine='local'"
        warn_caller(f"on_timeout is ignored: {where} has no wall limit of a run at once", FusedIgnoredWarning)


def resolve_follow(call: Call, follow_logs: Any) -> None:
    """``follow_logs=True`` prints lines as they are written, a function is called with each."""
    if follow_logs is None or follow_logs is False:
        return
    if follow_logs is not True and not callable(follow_logs):
        raise ValueError(f"follow_logs={follow_logs!r} is not True, False or a function of (stream, line)")
    from fused._run.follow import print_line

    call.follow_logs = print_line if follow_logs is True else follow_logs


def resolve_formats(call: Call, keywords: dict[str, Any]) -> None:
    """``_format`` and the older ``dtype_out_vector`` / ``dtype_out_raster``: which formats the server may answer in."""
    wanted = [keywords.pop("_format", None)]
    for name in ("dtype_out_vector", "dtype_out_raster"):
        if call.udf is not None and name in call.udf.described.parameters:
            continue
        older = keywords.pop(name, None) or keywords.pop(f"_{name}", None)
        if older is not None:
            warn_caller(f"{name} is the older name of _format", FusedDeprecationWarning)
        wanted.append(older)
    names = [name.strip() for text in wanted if text for name in str(text).split(",")]
    wrong = [name for name in names if name not in FORMATS]
    if wrong:
        raise ValueError(f"{', '.join(map(repr, wrong))} is no format; formats are {', '.join(FORMATS)}")
    if names and call.engine == "local":
        warn_caller("a format is ignored with engine='local': values are not encoded", FusedIgnoredWarning)
    call.formats = ",".join(names) or None
