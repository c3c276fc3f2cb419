"""Schedules: a saved function that runs as a job again and again (docs/guides/schedules.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from fused._jobs.response import RunResponse
from fused._transport import call_json, path_of
from fused.models.udf import Udf

_WORDS = ("cron", "time_zone", "overlap", "catch_up", "jitter", "on_failure", "instance_type", "name", "description")
_NONE = {"on_failure": "", "description": "", "instance_type": ""}  # what stands for none of it
_LISTS = {"minute": (0, 59), "hour": (0, 23), "day_of_month": (1, 31), "month": (1, 12), "day_of_week": (0, 7)}
_ROOT = "/api/v1/schedules"


@dataclass(repr=False)
class Schedule:
    """A schedule as the server knows it; ``update``, ``run_now``, ``delete`` change it there.

    ``cron``, ``time_zone``: when. ``function``: the id of what is run, ``function_name`` its name (None: it was
    deleted), ``arguments`` its arguments. ``next``: the next due times, ``last_run`` the last one, as text in UTC.
    """

    id: str
    name: str = ""
    description: str = ""
    enabled: bool = True
    cron: str = ""
    time_zone: str = "UTC"
    function: str = ""
    function_name: str | None = None
    arguments: Any = None
    instance_type: str = ""
    overlap: str = "skip"
    catch_up: str = "last"
    jitter: float = 0
    on_failure: str | None = None
    last_run: str | None = None
    next: list[str] = field(default_factory=list)
    user_id: str = ""
    created_at: str | None = None
    updated_at: str | None = None

    @classmethod
    def of_json(cls, value: Mapping[str, Any]) -> Schedule:
        """From the server's record; keys it does not know are left out."""
        known = {each.name for each in fields(cls)}
        return cls(**{key: item for key, item in value.items() if key in known})

    @classmethod
    def of_id(cls, id: str) -> Schedule:
        """The schedule of this id; ``NotFoundError`` when there is none."""
        return cls.of_json(call_json("GET", _ROOT + path_of(id), f"asking about schedule {id}"))

    def refresh(self) -> Schedule:
        """Asks the server, and is itself up to date then."""
        return self._take(call_json("GET", self._path(), f"asking about schedule {self.id}"))

    def update(self, **changes: Any) -> Schedule:
        """Changes what is named, as ``udf.schedule`` names it: ``cron``, ``enabled``, ``udf_args`` and so on.

        None takes away: ``on_failure``, ``description``, ``instance_type``, ``udf_args`` (``ValueError`` for the rest).
        """
        for name in changes:
            if changes[name] is None and name in (*_WORDS, *_LISTS, "enabled") and name not in _NONE:
                raise ValueError(f"{name} is None, and a schedule has one; leave it out to keep it")
        arguments = changes.pop("udf_args", ...)
        changes = {name: _NONE.get(name) if value is None else value for name, value in changes.items()}
        body = _body(None if arguments is ... else arguments or {}, changes)
        if arguments is not ... and arguments:
            from fused._load import load

            _check_arguments(load(self.function), arguments)
        return self._take(call_json("POST", self._path(), f"changing schedule {self.name!r}", value=body))

    def enable(self) -> Schedule:
        """It is due again, from now on."""
        return self.update(enabled=True)

    def disable(self) -> Schedule:
        """It rests: nothing is due, and nothing is caught up later."""
        return self.update(enabled=False)

    def run_now(self) -> RunResponse:
        """Runs it now, beside its due times, also while it is disabled."""
        value = call_json("POST", self._path("run"), f"running schedule {self.name!r}", value={})
        return RunResponse.of_json(value["run"])

    def runs(self, limit: int = 20) -> list[dict[str, Any]]:
        """Its last due times, the newest first: ``{"due", "job_id", "state", "error", "note"}``.

        ``note`` says why one was not run.
        """
        return list(call_json("GET", self._path("runs"), f"reading the runs of {self.name!r}", {"limit": limit}))

    def delete(self) -> None:
        """Removes it; jobs that run go on."""
        call_json("DELETE", self._path(), f"removing schedule {self.name!r}")

    def _path(self, verb: str = "") -> str:
        return _ROOT + path_of(self.id, *([verb] if verb else []))

    def _take(self, value: Mapping[str, Any]) -> Schedule:
        for name, item in vars(Schedule.of_json(value)).items():
            setattr(self, name, item)
        return self

    def __repr__(self) -> str:
        what = self.function_name or "a deleted function"
        state = f"next {self.next[0]}" if self.next else "disabled" if not self.enabled else "never due"
        return f"<Schedule {self.name!r}: {self.cron} ({self.time_zone}) runs {what}, {state}, id={self.id}>"


def schedule_udf(
    udf: Udf | str,
    minute: int | Sequence[int] | str | None = None,
    hour: int | Sequence[int] | None = None,
    day_of_month: int | Sequence[int] | None = None,
    month: int | Sequence[int] | None = None,
    day_of_week: int | Sequence[int] | None = None,
    udf_args: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    enabled: bool | None = True,
    _create_udf: bool = True,
    **kwargs: Any,
) -> Schedule:
    """Makes or changes the schedule of a function; ``udf``: one made with ``@fused.udf``, or a saved one's name or id.

    The parameters are those of ``Udf.schedule``. One function has one schedule of a name (by default its own).
    ``enabled`` None: a new one is due, one that is there stays as it is.
    """
    given = {"minute": minute, "hour": hour, "day_of_month": day_of_month, "month": month, "day_of_week": day_of_week}
    if isinstance(minute, str):
        if kwargs.get("cron") is not None or any(given[name] is not None for name in _LISTS if name != "minute"):
            raise ValueError(f"{minute!r} is a whole cron line; give nothing else that says when")
        given["minute"], kwargs["cron"] = None, minute
    lists = {name: _numbers(name, value) for name, value in given.items() if value is not None}
    if kwargs.get("cron") is None and "minute" not in lists:
        raise ValueError(
            "a schedule needs a minute (0 to 59), as udf.schedule(minute=0, hour=6), or a cron line, as "
            'udf.schedule("0 6 * * mon-fri")'
        )
    saved = _saved(udf, _create_udf)
    body = {**_body(udf_args, kwargs), **lists, "function": saved.id}
    if enabled is not None:
        body["enabled"] = _flag(enabled)
    if udf_args is not None:
        _check_arguments(saved, udf_args)
    name = body.setdefault("name", saved.name)
    for other in schedules_of(saved):
        if other.name == name:
            if udf_args is None and not other.arguments:
                _check_arguments(saved, {})
            value = call_json("POST", other._path(), f"changing schedule {name!r}", value=body)
            return Schedule.of_json(value)
    if udf_args is None:
        _check_arguments(saved, {})
    return Schedule.of_json(call_json("POST", _ROOT, f"making schedule {name!r}", value=body))


def schedule_list(mine: bool = False) -> list[Schedule]:
    """The schedules of the organisation; ``mine``: only those of who asks."""
    query = {"mine": "true"} if mine else None
    return [Schedule.of_json(each) for each in call_json("GET", _ROOT, "listing the schedules", query)]


def schedules_of(udf: Udf) -> list[Schedule]:
    """The schedules of a saved function; ``ValueError`` when it is not saved."""
    if udf.id is None:
        raise ValueError(f"{udf.name!r} is not saved, so it has no schedule; udf.schedule(…) saves and schedules it")
    listed = call_json("GET", f"/cronjob/by-udf-id{path_of(udf.id)}", f"listing the schedules of {udf.name!r}")
    return [Schedule.of_json(each) for each in listed]


def _saved(udf: Udf | str, create: bool) -> Udf:
    if isinstance(udf, str):
        from fused._load import load

        return load(udf)
    if not isinstance(udf, Udf):
        raise TypeError(f"a schedule runs a function made with @fused.udf, or a saved one by name or id, not {udf!r}")
    if create:
        return udf.to_fused(overwrite=True)
    if udf.id is None:
        raise ValueError(f"{udf.name!r} is not saved, and _create_udf=False; save it with udf.to_fused()")
    return udf


def _numbers(name: str, value: Any) -> list[int]:
    least, most = _LISTS[name]
    listed = [value] if isinstance(value, int) and not isinstance(value, bool) else value
    if isinstance(listed, str | bytes) or not isinstance(listed, Sequence | range):
        raise TypeError(f"{name} is {value!r}; it is a whole number from {least} to {most}, or a list of them")
    for number in listed:
        if isinstance(number, bool) or not isinstance(number, int) or not least <= number <= most:
            raise ValueError(f"{name} is {number!r}; allowed are whole numbers from {least} to {most}")
    if not listed:
        raise ValueError(f"{name} is an empty list; leave it out for every one, or name some from {least} to {most}")
    return list(listed)


def _flag(enabled: Any) -> bool:
    if not isinstance(enabled, bool):
        raise ValueError(f"enabled is {enabled!r}; it is True or False")
    return enabled


def _check_arguments(udf: Udf, udf_args: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> None:
    """As the run will read them: a schedule should not fail for the first time at six in the morning."""
    from fused._argument_check import ArgumentCheck

    check = ArgumentCheck(udf)
    for item in [udf_args] if isinstance(udf_args, Mapping) else udf_args:
        check.check(item)


def _body(udf_args: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    from fused._run.parameters import encode_parameters

    known = (*_WORDS, *_LISTS, "enabled")
    unknown = [name for name in given if name not in known]
    if unknown:
        raise TypeError(f"a schedule has no {', '.join(map(repr, unknown))}; it has {', '.join((*known, 'udf_args'))}")
    body = {name: value for name, value in given.items() if value is not None}
    for name in _LISTS:
        if name in body:
            body[name] = _numbers(name, body[name])
    if isinstance(body.get("on_failure"), Udf):
        udf = body["on_failure"]
        if udf.id is None:
            raise ValueError(f"on_failure is {udf.name!r}, which is not saved; save it with udf.to_fused()")
        body["on_failure"] = udf.id
    if isinstance(udf_args, Mapping):
        body["arguments"] = encode_parameters(udf_args)
    elif udf_args is not None:
        if isinstance(udf_args, str | bytes) or not isinstance(udf_args, Sequence):
            raise TypeError(f"udf_args is {udf_args!r}; it is a dictionary of arguments, or a list of such")
        body["arguments"] = [encode_parameters(item) for item in udf_args]
    return body
