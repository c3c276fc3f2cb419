"""``run_remote``: a step, or several, become a job on the server."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fused._jobs.response import RunResponse, post_job
from fused.warnings import FusedIgnoredWarning, FusedPathWarning, warn_caller

if TYPE_CHECKING:
    from fused.models.job import JobConfig

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]*\Z")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
STEPS_MAX = 100


def start_job(
    config: JobConfig,
    *,
    instance_type: str | None = None,
    region: str | None = None,
    disk_size_gb: int | None = None,
    additional_env: Sequence[str] | None = None,
    image_name: str | None = None,
    send_status_email: bool | None = None,
    cache_max_age: int | str | None = None,
    priority: int | None = None,
    max_retry: int | None = None,
    on_finish: Any = None,
    validate_imports: bool | None = None,
    validate_inputs: bool = True,
) -> RunResponse:
    """Sends the job; when this returns it is on the server's disk and goes on whatever becomes of the caller.

    ``ValueError`` and ``TypeError`` for what can be seen here; ``ServerError`` for what the server refuses.
    """
    whole_number("disk_size_gb", disk_size_gb, 1, None)
    whole_number("priority", priority, -100, 100)
    whole_number("max_retry", max_retry, 0, 100)
    check_environment(additional_env)
    if validate_inputs:
        config.check_inputs()
    if validate_imports:
        check_imports(config)
    body: dict[str, Any] = {"config": config.to_json()}
    if send_status_email is not None:
        body["send_status_email"] = truth("send_status_email", send_status_email)
    if additional_env is not None:
        body["additional_env"] = list(additional_env)
    if image_name is not None:
        body["image_name"] = text("image_name", image_name)
    if cache_max_age is not None:
        from fused._duration import parse_duration

        body["cache_max_age"] = parse_duration(cache_max_age)
    if max_retry is not None:
        body["max_retry"] = max_retry
    if on_finish is not None:
        body["on_finish"] = hooks_of(on_finish)
    query = {
        "instance_type": None if instance_type is None else text("instance_type", instance_type),
        "region": None if region is None else text("region", region),
        "disk_size_gb": disk_size_gb,
        "priority": priority,
    }
    return post_job("/run", f"starting job {config.name!r}", query, body)


def check_name(name: Any, what: str = "a job's name") -> str:
    """The name, when a job may have it."""
    if not isinstance(name, str) or not _NAME.match(name):
        raise ValueError(
            f"{what} is {name!r}; it begins with a letter and holds letters, digits and '_', '.', ':', '-'"
        )
    return name


def name_from(text: str) -> str:
    """A name that a job may have, made from a function's, which may hold anything."""
    name = re.sub(r"[^A-Za-z0-9_.:-]", "_", text)
    return name if _NAME.match(name) else f"job_{name}"


def whole_number(name: str, value: Any, least: int, most: int | None) -> None:
    """``ValueError`` for what is no whole number in that range; None passes."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < least or (most is not None and value > most):
        upto = "up" if most is None else f"to {most}"
        raise ValueError(f"{name} is {value!r}; it is a whole number from {least} {upto}, or None")


def truth(name: str, value: Any) -> bool:
    """``ValueError`` for what is neither True nor False."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} is {value!r}; it is True or False")
    return value


def text(name: str, value: Any) -> str:
    """``ValueError`` for what is no text."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} is {value!r}; it is a text, or None")
    return value


def check_environment(variables: Any) -> None:
    """``ValueError`` unless it is None or a list of ``"NAME=value"``."""
    if variables is None:
        return
    if isinstance(variables, str | Mapping) or not isinstance(variables, Sequence):
        raise ValueError(f'additional_env is {variables!r}; it is a list of texts "NAME=value"')
    for item in variables:
        if not isinstance(item, str) or not _VARIABLE.match(item):
            raise ValueError(f'additional_env holds {item!r}; each is a text "NAME=value", NAME of letters and digits')


def hooks_of(on_finish: Any) -> list[str]:
    """Addresses and functions to be told, as they travel: ``"https://…"``, ``"mailto:…"``, a function's id or name."""
    from fused.models.udf import Udf

    given = [on_finish] if isinstance(on_finish, str | Udf) else on_finish
    if not isinstance(given, Sequence) or isinstance(given, bytes):
        raise ValueError(f"on_finish is {on_finish!r}; it is an address, a saved function, or a list of these")
    hooks = []
    for each in given:
        if isinstance(each, Udf):
            if each.id is None:
                raise ValueError(f"on_finish names {each.name!r}, which is not saved; save it first: udf.to_fused()")
            hooks.append(each.id)
        elif isinstance(each, str) and each:
            hooks.append(each)
        else:
            raise ValueError(f"on_finish holds {each!r}; each is an address or a saved function")
    return hooks


def warn_local_path(path: Any) -> None:
    """A job reads on the server: what lies here it may not see."""
    given = path if isinstance(path, list | tuple) else [path]
    for each in map(str, given):
        if each.startswith(("file://", "/", "./", "~")) and not each.startswith("/mount"):
            warn_caller(
                f"{each!r} is read where the job runs: on the server, which may not have it. Put it on /mount or an "
                "object store, or use run_local()",
                FusedPathWarning,
            )
            return


def warn_ignored(name: str, why: str) -> None:
    """What was given has no effect here."""
    warn_caller(f"{name} is ignored: {why}", FusedIgnoredWarning)


def check_imports(config: JobConfig) -> None:
    """Asks the server, in a run of its own, whether it has what the functions import at their top or within.

    ``ValueError`` names the modules that it lacks.
    """
    import fused
    from fused.models.step import UdfJobStepConfig

    wanted: set[str] = set()
    for step in config.steps:
        if isinstance(step, UdfJobStepConfig) and step.udf is not None:
            own = {header.module_name for header in step.udf.headers}
            sources = [step.udf.code, *(header.source_code for header in step.udf.headers)]
            wanted |= set().union(*map(imported_modules, sources)) - own
    wanted -= set(sys.stdlib_module_names)
    if not wanted:
        return
    missing = fused.run(
        fused.load(_FIND_MODULES),
        parameters={"names": sorted(wanted)},
        engine="remote",
        cache=False,
        _format="json",
    )
    if missing:
        raise ValueError(
            f"the server does not have {', '.join(missing)}, which the job imports; install it where the server runs, "
            "or give validate_imports=False where the import is never reached"
        )


_FIND_MODULES = """\
@fused.udf
def find_modules(names: list):
    import importlib.util
    return [name for name in names if importlib.util.find_spec(name) is None]
"""


def imported_modules(code: str) -> set[str]:
    """The top names of all modules that this text imports; none where it cannot be read."""
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return set()
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names
