"""Functions that want to harm: each ends as it must, and the next run on the same slot is unharmed."""

# ruff: noqa: E501 (texts that run inside keep their lines)

from __future__ import annotations

import os
import textwrap

import pytest

from .conftest import SECRET_VARIABLE, Arena, counts, planted
from .functions import ALL, ANY_VALUE, SEARCH, SEARCHES, Hostile

CANARY = """
import json, os, signal, sys, threading, builtins
def udf():
    import pandas
    limits = open("/proc/self/limits").read()
    return {
        "sum": int(pandas.DataFrame({"a": [1, 2, 3]})["a"].sum()), "json": json.loads("[1]"), "len": len([1, 2]),
        "scratch": sorted(os.listdir(os.getcwd())), "umask": os.umask(0o022), "threads": threading.active_count(),
        "environment": sorted(os.environ), "path": os.environ["PATH"], "children": open(f"/proc/self/task/{os.getpid()}/children").read(),
        "processes": len([n for n in os.listdir("/proc") if n.isdigit()]) if os.getpid() == 2 else 2,
        "signals": [str(signal.getsignal(n)) for n in (signal.SIGTERM, signal.SIGALRM, signal.SIGINT)],
        "limits": [line for line in limits.splitlines() if "open files" in line], "planted": "planted" in sys.modules,
        "shm": sorted(os.listdir("/dev/shm")) if os.getpid() == 2 else [], "timer": signal.getitimer(0), "trace": sys.gettrace() is None,
        "descriptors": len(os.listdir("/proc/self/fd")), "modules": sys.modules["json"] is json, "recursion": sys.getrecursionlimit(),
    }
"""


@pytest.fixture(scope="module")
def healthy(arena: Arena) -> object:
    """What the canary says on a slot that nobody has harmed."""
    outcome, value, metadata = arena.run(CANARY)
    assert outcome == "ok", metadata
    return value


def test_the_set_has_at_least_sixty_functions() -> None:
    assert len(ALL) >= 60
    assert len({one.name for one in ALL}) == len(ALL)


@pytest.mark.parametrize("hostile", ALL, ids=lambda one: one.name.replace(" ", "_"))
def test_a_hostile_function_ends_as_it_must_and_the_next_run_is_unharmed(
    arena: Arena, healthy: object, hostile: Hostile
) -> None:
    outcome, value, metadata = arena.run(hostile.code)
    counts["hostile runs"] += 1
    assert outcome in hostile.ends, f"{outcome}: {metadata.get('errormsg')}"
    if outcome == "ok" and hostile.value is not ANY_VALUE:
        assert value == hostile.value
    if outcome != "ok":
        assert metadata["errormsg"]
    outcome, value, metadata = arena.run(CANARY)
    assert outcome == "ok", metadata
    assert value == healthy
    counts["canary runs unharmed"] += 1
    assert os.path.exists(f"/proc/{arena.server.pid}")


def search(arena: Arena, where: str) -> dict[str, list[str]]:
    data = arena.server.data
    names: dict[str, object] = {
        "NEEDLE": arena.secret.encode()[::-1].hex(),
        "PLACES": [str(place) for place in (*planted(data), data / "token", data / "state.db")],
        "DATA": str(data),
        "PORT": int(arena.server.base_url.rpartition(":")[2]),
    }
    lines = [f"{name} = {value!r}" for name, value in names.items()]
    # Its memory holds the needle because it looks for it; there the variable's name is looked for, put together late.
    lines.append(f"SERVER_ONLY = bytes.fromhex({SECRET_VARIABLE.encode().hex()!r}).decode()")
    text = "import os, socket, sys\n" + "\n".join(lines) + SEARCH + textwrap.dedent(SEARCHES[where])
    outcome, value, metadata = arena.run(text + "\ndef udf():\n    return {'found': found, 'looked': looked}\n")
    assert outcome == "ok", metadata
    return dict(value)


@pytest.mark.parametrize("where", SEARCHES)
def test_a_secret_of_the_servers_is_found_nowhere(arena: Arena, where: str) -> None:
    counts["secret searches"] += 1
    found = search(arena, where)["found"]
    counts["secrets found"] += len(found)
    assert found == []


def test_the_search_finds_what_can_be_found(arena: Arena) -> None:
    shown = arena.server.data / "mount" / "shown"
    shown.write_text(arena.secret)
    try:
        assert search(arena, "all of /tmp, /mount, /dev and /etc")["found"] == ["/mount/shown"]
    finally:
        shown.unlink()


def test_the_secret_stands_in_no_log_and_in_no_reply(arena: Arena) -> None:
    mount = arena.server.data / "mount"
    needle = arena.secret.encode()
    holding = [path for path in mount.rglob("*") if path.is_file() and needle in path.read_bytes()]
    assert holding == []
    assert not [line for line in arena.server.lines if arena.secret in line]
