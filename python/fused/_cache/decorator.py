"""``@fused.cache`` itself."""

from __future__ import annotations

import functools
import inspect
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, overload

from fused._cache import entry, flow, place
from fused._cache.code import Reached
from fused._cache.content import Parts, encode
from fused._cache.entry import clocks
from fused._cache.errors import Unhashable, say_once
from fused._cache.secret import Keys, keys
from fused._cache.settings import ALIASES, CHECKS, DEFAULTS, NAMES, Settings
from fused._used_files import used

Function = TypeVar("Function", bound=Callable[..., Any])
FORMAT = b"fused function cache 2"
ABOUT_LENGTH_MAX = 200


@overload
def cache(func: Function) -> Function: ...


@overload
def cache(
    func: None = None,
    cache_max_age: str | int = "12h",
    path: str = "tmp",
    concurrent_lock_timeout: int = 120,
    **kwargs: Any,
) -> Callable[[Function], Function]: ...


def cache(
    func: Callable[..., Any] | None = None,
    cache_max_age: str | int = "12h",
    path: str = "tmp",
    concurrent_lock_timeout: int = 120,
    **kwargs: Any,
) -> Callable[..., Any]:
    """Keeps what a function returns and gives it again for equal arguments, in this and every other process.

    ``cache_max_age``: how old a kept value may be, ``"48h"``, ``"10s"`` or seconds; ``0``: nothing is kept.
    ``path``: folder instead of the function's own below the cache directory; below ``/mount/`` it is used as it is.
    ``concurrent_lock_timeout``: seconds a call waits for another one that computes the same, then ``TimeoutError``.
    ``reset=True`` (``cache_reset``): does not look for a kept value, computes and keeps a new one.
    ``cache_key_exclude``: names of parameters that do not matter for the result. ``cache_key_files=True``: ``Path``
    arguments count with the size and time of their file. ``max_size``: bytes, or ``"10GB"``, the folder may take;
    beyond it entries go, expired and least recently used first. ``storage``: ``"auto"``, ``"mount"`` (of the server),
    ``"local"``. ``cache_verbose=True`` tells on stderr what each call did. All of them may be given to a call as well,
    unless the function has a parameter of that name: ``f(x, reset=True)``.

    The key is made of the function's code with everything of yours that it reaches, its arguments by content, and
    ``cache_max_age`` (docs/reference/cache.md). Exceptions are not kept. Serves seed 000, ``cache``.
    """
    given = {"cache_max_age": cache_max_age, "path": path, "concurrent_lock_timeout": concurrent_lock_timeout}
    if "cache_folder_path" in kwargs and path == place.DEFAULT_PATH:
        del given["path"]
    settings = DEFAULTS.changed({**given, **kwargs})
    if func is None:
        return functools.partial(_decorated, settings)
    decorated: Callable[..., Any] = _decorated(settings, func)
    return decorated


cache.__module__ = "fused"


def _decorated(settings: Settings, fn: Any) -> Any:
    if isinstance(fn, staticmethod | classmethod):
        return type(fn)(_decorated(settings, fn.__func__))
    if not isinstance(fn, types.FunctionType):
        if hasattr(fn, "entrypoint") and hasattr(fn, "fn"):
            raise TypeError(
                "@fused.udf goes on top of @fused.cache, or results are kept by @fused.udf(cache_max_age=…)"
            )
        raise TypeError(
            f"fused.cache wants a function (def …), not {fn!r:.100}; settings are named: @fused.cache(path=…)"
        )
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        raise TypeError(
            f"fused.cache: {fn.__qualname__!r} is a generator, whose values can be read once: return a list of them"
        )
    cached = Cached(settings, fn)
    if inspect.iscoroutinefunction(fn):

        @functools.wraps(fn)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            call = cached.call_of(args, kwargs)
            if call is None:
                return await fn(*args, **cached.own(kwargs))
            found = cached.look(call)
            value = found.value if found is not None else await flow.run_async(call)
            used(call.path)
            return value
    else:

        @functools.wraps(fn)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            call = cached.call_of(args, kwargs)
            if call is None:
                return fn(*args, **cached.own(kwargs))
            found = cached.look(call)
            value = found.value if found is not None else flow.run(call)
            used(call.path)
            return value

    wrapper.__fused_cache__ = cached  # type: ignore[attr-defined]
    return wrapper


class Cached:
    """A function with its settings: makes calls of it."""

    def __init__(self, settings: Settings, fn: types.FunctionType) -> None:
        self.settings = settings
        self.fn = fn
        self.reached = Reached(fn)
        self.signature = inspect.signature(fn)
        parameters = self.signature.parameters.values()
        self.names = tuple(each.name for each in parameters)
        plain = inspect.Parameter.POSITIONAL_OR_KEYWORD
        self.only_plain = all(each.kind is plain for each in parameters)
        unknown = [name for name in settings.cache_key_exclude if name not in self.names]
        takes_any = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters)
        if unknown and not takes_any:
            raise ValueError(
                f"cache_key_exclude: {fn.__qualname__} has no parameter {', '.join(map(repr, unknown))}; "
                f"it has {', '.join(self.names) or 'none'}"
            )
        # A name the function itself has is the function's.
        self.call_names = frozenset(name for name in NAMES if name not in self.names)
        self._folders: dict[tuple[Any, ...], Path] = {}

    def own(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Without what is said to the cache."""
        return {name: value for name, value in kwargs.items() if name not in self.call_names}

    def settings_of(self, kwargs: dict[str, Any]) -> Settings:
        said = {name: value for name, value in kwargs.items() if name in self.call_names}
        return self.settings.changed(said) if said else self.settings

    def call_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> flow.Call | None:
        """The call; None when nothing is to be kept. ``TypeError`` for arguments the function does not take."""
        settings = self.settings
        if kwargs and not self.call_names.isdisjoint(kwargs):
            settings = self.settings_of(kwargs)
            kwargs = self.own(kwargs)
        if settings.cache_max_age == 0:
            return None
        if not entry.is_available():
            say_once(
                "no native part",
                "@fused.cache: results are computed but not kept: this installation has no fused._native. "
                "Install fused-server with its native part (its wheel, or `make build` in a checkout)",
            )
            return None
        try:
            folder = self.folder(settings)
        except OSError as error:
            place.not_kept(Path(settings.path), error)
            return None
        held = keys()
        digest = self.key(args, kwargs, settings, held)
        name = digest.hex()
        return flow.Call(
            self.fn, args, kwargs, folder, name, digest, held, settings.cache_max_age,
            settings.concurrent_lock_timeout, settings.storage, settings.max_size,
            clocks.boot_ns() if settings.reset else None,
            self.teller(name) if settings.cache_verbose else None,
            {"function": f"{self.fn.__module__}.{self.fn.__qualname__}"},
            folder_text=str(folder), path=f"{folder}/data_{name}",
        )  # fmt: skip

    def look(self, call: flow.Call) -> Any:
        """The kept value, or None. With ``reset`` none is old enough to be looked for."""
        found = None if call.newer_than_ns is not None else call.find()
        if call.say is not None:
            call.say("miss" if found is None else f"hit from {found.where}, {found.age_s:.0f} s old")
        if found is None:
            call.note["arguments"] = _shown(call.args, call.kwargs)
        return found

    def folder(self, settings: Settings) -> Path:
        from fused._options import options

        # What decides on the folder; the name of the run's function is part of it in a worker.
        run = place.run_of_server()
        where = (settings.path, settings.storage, options.cache_directory, getattr(run, "udf_record", {}).get("name"))
        found = self._folders.get(where)
        if found is None:
            self._folders.clear()
            found = self._folders[where] = place.folder_of(self.fn, settings.path, settings.storage)
        return found

    def key(self, args: tuple[Any, ...], kwargs: dict[str, Any], settings: Settings, held: Keys) -> bytes:
        """32 bytes that are equal for equal calls of equal code by the same owner, and for nothing else."""
        out = Parts(held.name, settings.cache_key_files)
        out.data(b"V", FORMAT)
        out.data(b"f", self.reached.digest())
        out.count(b"a", settings.cache_max_age)
        excluded = settings.cache_key_exclude
        if self.only_plain and not kwargs and len(args) == len(self.names):
            arguments = zip(self.names, args, strict=True)
        else:
            try:
                bound = self.signature.bind(*args, **kwargs)
            except TypeError as error:
                raise TypeError(
                    f"{self.fn.__qualname__}() {error}; its parameters are {', '.join(self.names) or 'none'}, and "
                    f"fused.cache's keywords {', '.join(sorted(self.call_names))}"
                ) from None
            bound.apply_defaults()
            arguments = self._by_name(bound.arguments)  # type: ignore[assignment]
        for name, value in arguments:
            if name in excluded:
                continue
            out.text(b"n", name)
            try:
                encode(value, out)
            except (Unhashable, RecursionError) as error:
                raise TypeError(
                    f"{self.fn.__qualname__}: argument {name!r} cannot be part of a cache key: {error}. Pass plain "
                    f"values, or leave it out of the key by cache_key_exclude=[{name!r}] if the result does not "
                    "depend on it"
                ) from None
        return out.digest()

    def _by_name(self, arguments: dict[str, Any]) -> list[tuple[str, Any]]:
        found = []
        for name, value in arguments.items():
            if self.signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
                found += [(f"**{key}" if key in self.names else key, value[key]) for key in sorted(value)]
            else:
                found.append((name, value))
        return found

    def teller(self, name: str) -> Callable[[str], None]:
        def tell(text: str) -> None:
            print(f"[fused.cache] {self.fn.__qualname__} data_{name[:12]}…: {text}", file=sys.stderr)

        return tell


def _shown(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """For listings: plain arguments as they are written, others by their type."""
    plain = (type(None), bool, int, float, str)
    texts = [repr(value) if isinstance(value, plain) else type(value).__name__ for value in args]
    texts += [
        f"{name}={value!r}" if isinstance(value, plain) else f"{name}={type(value).__name__}"
        for name, value in kwargs.items()
    ]
    text = ", ".join(texts)
    return text if len(text) <= ABOUT_LENGTH_MAX else text[: ABOUT_LENGTH_MAX - 1] + "…"


__all__ = ["ALIASES", "CHECKS", "Cached", "cache"]
