"""Functions that want to harm: each ends as it must, and the next run on the same slot is unharmed."""

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
def test_a_hostile_function_ends_as_it_must_and_the_next_run_is_unharmed(arena: Arena, healthy: object, hostile: Hostile) -> None:
    outcome, value, metadata = arena.run(hostile.code)
    counts["hostile runs"] += 1
    assert outcome in hostile.ends, metadata
    if outcome == "ok" and hostile.value is not ANY_VALUE:
        assert value == hostile.value
    if outcome != "ok":
        assert metadata["errormsg"]
    outcome, value, metadata = arena.run(CANARY)
    assert outcome == "ok", metadata
    assert value == healthy
    counts["canary runs unharmed"] += 1
    assert os.path.exists(f"/proc/{arena.server.pid}")


@pytest.mark.parametrize("where", SEARCHES)
def test_a_secret_of_the_servers_is_found_nowhere(arena: Arena, where: str) -> None:
    data = arena.server.data
    names = {
        "NEEDLE": arena.secret.encode()[::-1].hex(),
        "SERVER_ONLY": SECRET_VARIABLE[:10] + SECRET_VARIABLE[10:],
        "PLACES": [str(place) for place in (*planted(data), data / "token", data / "state.db")],
        "DATA": str(data),
        "PORT": int(arena.server.base_url.rpartition(":")[2]),
    }
    if where == "its own memory":  # the name of the variable: the needle itself is in memory because we look for it
        names["SERVER_ONLY"] = SECRET_VARIABLE
        texts = "SERVER_ONLY = bytes.fromhex({!r}).decode()".format(SECRET_VARIABLE.encode().hex())
    else:
        texts = ""
    preface = "import os, socket, sys\n" + "".join(f"{name} = {value!r}\n" for name, value in names.items() if name != "SERVER_ONLY")
    code = preface + texts + SEARCH + textwrap.dedent(SEARCHES[where]) + "\ndef udf():\n    return {'found': found, 'looked': looked}\n"
    outcome, value, metadata = arena.run(code)
    counts["secret searches"] += 1
    assert outcome == "ok", metadata
    counts["secrets found"] += len(value["found"])
    assert value["found"] == []


def test_the_secret_stands_in_no_log_and_in_no_reply(arena: Arena) -> None:
    mount = arena.server.data / "mount"
    needle = arena.secret.encode()
    holding = [path for path in mount.rglob("*") if path.is_file() and needle in path.read_bytes()]
    assert holding == []
    assert not [line for line in arena.server.lines if arena.secret in line]
