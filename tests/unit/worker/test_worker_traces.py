"""What one run does to its process is not there for the next: it is put back, or the worker asks to be replaced."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from worker_harness import TestWorker, TestZygote

from fused._worker.connection import to_json
from fused._worker.frames import Kind

# What a run can see of its process. Random numbers are looked at in a test of their own.
CANARY = """
import asyncio, builtins, decimal, gc, json, locale, logging, os, resource, signal, subprocess, sys, threading
import tracemalloc, warnings
import numpy, pandas, geopandas, shapely, pyarrow, xarray
import fused

def udf():
    logger = logging.getLogger("canary")
    return {
        "cwd": os.getcwd(), "files": sorted(os.listdir(".")), "umask": [os.umask(0o22), os.umask(0o22)][1],
        "environment": sorted(os.environ.items()), "os_environment": sorted(subprocess.run(["env"],
        capture_output=True, text=True).stdout.splitlines()),
        "locale": locale.setlocale(locale.LC_ALL), "limits": [resource.getrlimit(n) for n in range(16)],
        "nice": os.getpriority(os.PRIO_PROCESS, 0), "cores": sorted(os.sched_getaffinity(0)),
        "policy": os.sched_getscheduler(0),
        "handlers": [str(signal.getsignal(n)) for n in sorted(signal.valid_signals())],
        "mask": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())), "timers": [signal.getitimer(n) for n in range(3)],
        "threads": threading.active_count(), "tasks": len(os.listdir("/proc/self/task")),
        "descriptors": [os.readlink(f"/proc/self/fd/{n}") for n in ("0", "1", "2", "3")],
        "open": len(os.listdir("/proc/self/fd")), "group": [os.getpgid(0) == os.getpid(), os.getsid(0) == os.getpid()],
        "children": [open(f"/proc/self/task/{t}/children").read() for t in os.listdir("/proc/self/task")],
        "trace": [sys.gettrace() is None, sys.getprofile() is None, sys.getrecursionlimit(), sys.getswitchinterval()],
        "hooks": [sys.excepthook is sys.__excepthook__, sys.displayhook is sys.__displayhook__,
                  threading.gettrace() is None,
                  sys.breakpointhook is sys.__breakpointhook__, sys.unraisablehook is sys.__unraisablehook__],
        "digits": sys.get_int_max_str_digits(),
        "stdout": [sys.stdout is sys.__stdout__, sys.stdout.closed, sys.stdin is sys.__stdin__],
        "gc": [gc.isenabled(), gc.get_threshold(), gc.get_debug(), len(gc.callbacks)],
        "tracing": tracemalloc.is_tracing(),
        "builtins": [builtins.__import__.__module__, len(dir(builtins)), builtins.len([1])],
        "path": list(sys.path), "finders": [str(type(f)) for f in sys.meta_path], "path_hooks": len(sys.path_hooks),
        "modules": sorted(n for n in ("utils_from_scratch", "fake_module", "json", "os") if n in sys.modules),
        "json": [json.dumps({"a": 1}), json.loads.__module__, json.dumps.__module__],
        "warnings": [len(warnings.filters), warnings.showwarning.__module__],
        "logging": [logging.root.level, len(logging.root.handlers),
        logging.root.manager.disable, logger.level, len(logger.handlers),
                    logging.getLogger("asyncio").level, logger.isEnabledFor(10), logging.getLoggerClass().__name__],
        "decimal": [decimal.getcontext().prec, decimal.DefaultContext.prec, decimal.getcontext().rounding],
        "numpy": [numpy.geterr(), numpy.get_printoptions()["precision"], numpy.sum.__module__, hasattr(numpy, "left")],
        "pandas": [pandas.get_option("display.max_rows"),
        pandas.DataFrame.to_json.__qualname__, hasattr(pandas.DataFrame, "left"),
                   pandas.concat.__name__, pandas.options.mode.chained_assignment, hasattr(pandas, "left")],
        "geo": [geopandas.GeoDataFrame.to_crs.__qualname__, geopandas.options.display_precision, shapely.box.__name__,
                shapely.Point.__name__, hasattr(shapely.geometry.base.BaseGeometry, "left")],
        "arrow": [pyarrow.table.__name__], "xarray": [str(xarray.get_options()["display_width"])],
        "fused": [fused.udf.__name__, fused.context.get_user_email()],
        "loop": type(asyncio.get_event_loop_policy()).__name__,
        "faults": os.path.exists("/dev/null"),
    }
"""

PUT_BACK = {
    "cwd": "os.chdir('/')",
    "umask": "os.umask(0)",
    "environment": "os.environ['LEFT'] = '1'; os.environ['HOME'] = '/nowhere'; del os.environ['PATH']",
    "environment below Python": "os.putenv('LEFT', '1')",
    "environment replaced": "os.environ = {}",
    "locale": "locale.setlocale(locale.LC_ALL, 'C')",
    "soft limit": "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))",
    "soft limit of descriptors": (
        "resource.setrlimit(resource.RLIMIT_NOFILE, (20, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))"
    ),
    "affinity": "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})",
    "signal handler": "signal.signal(signal.SIGTERM, lambda *_: None); signal.signal(signal.SIGUSR1, signal.SIG_IGN)",
    "ignored children": "signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
    "signal mask": "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})",
    "real-time signal": "signal.signal(signal.SIGRTMIN + 3, lambda *_: None)",
    "alarm": "signal.alarm(1)",
    "interval timer": "signal.setitimer(signal.ITIMER_VIRTUAL, 0.5, 0.5)",
    "child": "subprocess.Popen(['sleep', '100'])",
    "grandchild in its own session": (
        "subprocess.run(['sh', '-c', 'setsid sh -c \"sleep 100 & sleep 100\" >/dev/null 2>&1 &'])"
    ),
    "double fork": "os.fork() or (os.setsid(), os.fork() or time.sleep(100), time.sleep(100), os._exit(0))",
    "zombie": "os.fork() or os._exit(0)",
    "file in scratch": (
        "open('left', 'w').write('x'); os.makedirs('a/b/c'); open('a/b/c/d', 'w'); "
        "os.symlink('/', 'link')"
    ),
    "closed folder in scratch": "os.makedirs('shut/in'); os.chmod('shut/in', 0); os.chmod('shut', 0)",
    "trace": "sys.settrace(lambda *_: None)",
    "profile": "sys.setprofile(lambda *_: None)",
    "thread trace": "threading.settrace(lambda *_: None)",
    "recursion limit": "sys.setrecursionlimit(100_000)",
    "switch interval": "sys.setswitchinterval(1)",
    "digits": "sys.set_int_max_str_digits(1000)",
    "hooks": "sys.excepthook = print; sys.displayhook = print; sys.unraisablehook = print; sys.breakpointhook = print",
    "stdout": "sys.stdout = io.StringIO(); print('kept')",
    "stdout closed": "sys.stdout.close()",
    "stdin": "sys.stdin = None",
    "gc off": "gc.disable(); gc.set_threshold(1, 2, 3); gc.callbacks.append(lambda *_: None)",
    "tracemalloc": "tracemalloc.start()",
    "import": "builtins.__import__ = lambda *a, **k: None",
    "builtins": "builtins.len = lambda _: 7; builtins.left = 1",
    "path": "sys.path.insert(0, '/left'); sys.path_hooks.append(print)",
    "path rebound": "sys.path = ['/left']; sys.meta_path = []",
    "modules removed": "del sys.modules['json'], sys.modules['os']",
    "modules replaced": (
        "sys.modules['json'] = types.ModuleType('json'); "
        "sys.modules['fake_module'] = types.ModuleType('fake_module')"
    ),
    "modules cleared": "sys.modules.clear()",
    "module from scratch": (
        "open('utils_from_scratch.py', 'w').write('X = 1'); sys.path.insert(0, '.'); "
        "__import__('utils_from_scratch')"
    ),
    "json": "json.dumps = json.loads = lambda *_: None; json.JSONEncoder.encode = None",
    "pickle": "import pickle; pickle.dumps = None",
    "warnings": "warnings.simplefilter('error'); warnings.showwarning = None",
    "logging": "logging.basicConfig(level=0); logging.disable(50); logging.getLogger('asyncio').setLevel(10)",
    "logging's own": (
        "logging.getLogger('canary').setLevel(10); "
        "logging.getLogger('canary').addHandler(logging.NullHandler())"
    ),
    "logger class": "logging.setLoggerClass(type('Own', (logging.Logger,), {}))",
    "decimal": "decimal.getcontext().prec = 3; decimal.DefaultContext.prec = 4",
    "numpy settings": "numpy.seterr(all='raise'); numpy.set_printoptions(precision=2)",
    "numpy": "numpy.sum = None; numpy.left = 1",
    "numpy's linalg": "numpy.linalg.inv = None",
    "pandas options": "pandas.set_option('display.max_rows', 1); pandas.options.mode.chained_assignment = None",
    "pandas class": "pandas.DataFrame.to_json = None; pandas.DataFrame.left = 1",
    "pandas function": "pandas.concat = None; del pandas.merge; pandas.left = 2",
    "geopandas": "geopandas.GeoDataFrame.to_crs = None; geopandas.options.display_precision = 9",
    "shapely": "shapely.box = print; shapely.Point = None; shapely.geometry.base.BaseGeometry.left = 1",
    "arrow": "pyarrow.table = print",
    "xarray": "xarray.set_options(display_width=11)",
    "fused": "fused.udf = None; fused.context.get_user_email = None; fused.run = None",
    "our own worker": "import fused._worker.runner as r; r.perf_counter_ns = None; r._call = None",
    "event loop policy": "asyncio.set_event_loop_policy(type('Own', (asyncio.DefaultEventLoopPolicy,), {})())",
    "rounding": "ctypes.CDLL(None).fesetround(0x400)",
    "thread that ends": "threading.Thread(target=time.sleep, args=(0.01,)).start()",
    "pool that nobody holds": "concurrent.futures.ThreadPoolExecutor(2).submit(len, [])",
    "descriptor that nobody holds": "kept = []; kept.append(kept); kept.append(open('/etc/hostname'))",
    "nonblocking pipes": "os.set_blocking(1, False)",
}  # fmt: skip

REPLACED = {
    "hard limit": (
        "resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); resource.setrlimit(resource.RLIMIT_FSIZE, (10**9, 10**9))",
        None,
    ),
    "thread": (
        "threading.Thread(target=time.sleep, args=(100,), daemon=True, name='mine').start()",
        "threads behind: mine",
    ),
    "raw thread": ("import _thread; _thread.start_new_thread(time.sleep, (100,))", "threads"),
    "pool": ("json.pool = concurrent.futures.ThreadPoolExecutor(1); json.pool.submit(time.sleep, 100)", "threads"),
    "descriptor": ("os.open('/etc/hostname', os.O_RDONLY)", "/etc/hostname"),
    "socket": ("import socket; json.kept = socket.socket().detach()", "descriptors open"),
    "stdin replaced": ("os.dup2(os.open('/etc/hostname', 0), 0)", "descriptor 0"),
    "stdout moved": ("os.dup2(2, 1)", "descriptor 1"),
    "scratch removed": ("import shutil; shutil.rmtree(os.getcwd())", "scratch"),
}

HEAD = (
    "import asyncio, builtins, concurrent.futures, ctypes, decimal, gc, io, json, locale, logging, os, "
    "resource, signal, subprocess\n"
    ""
    "import sys, threading, time, tracemalloc, types, warnings\n"
    "import numpy, numpy.linalg, pandas, geopandas, shapely, pyarrow, xarray, fused\n"
)


def pollute(statement: str) -> str:
    return f"{HEAD}def udf():\n    {statement}\n    return 'done'\n"


@pytest.fixture
def kept(zygote: TestZygote) -> Iterator[TestWorker]:
    """A worker that has run something, so that imports and first uses are behind it."""
    worker = zygote.worker()
    assert worker.run(CANARY).replace is None
    worker.printed()
    yield worker
    worker.close()


@pytest.mark.parametrize("name", PUT_BACK)
def test_it_is_put_back(kept: TestWorker, name: str) -> None:
    before = kept.run(CANARY).value
    result = kept.run(pollute(PUT_BACK[name]))
    kept.printed()
    assert result.replace is None, result.replace
    assert result.outcome == "ok", result.header
    after = kept.run(CANARY)
    assert after.outcome == "ok", after.header
    assert after.value == before
    assert kept.run(pollute("pass")).value == "done"


@pytest.mark.parametrize("name", REPLACED)
def test_what_cannot_be_put_back_asks_for_another_worker(worker: TestWorker, name: str) -> None:
    statement, words = REPLACED[name]
    result = worker.run(pollute(statement))
    if name == "hard limit" and result.replace is None:
        with Path(f"/proc/{worker.pid}/limits").open() as file:  # it had the capability to raise them again
            assert "1000000000" not in file.read()
        return
    assert result.outcome == "ok"
    assert result.replace is not None
    assert words is None or words in result.replace


def test_random_numbers_of_one_run_do_not_decide_those_of_the_next(kept: TestWorker) -> None:
    seed = (
        "import random, numpy\ndef udf():\n    random.seed(1); numpy.random.seed(1)\n"
        "    return [random.random(), numpy.random.rand()]\n"
    )
    draw = "import random, numpy\ndef udf():\n    return [random.random(), float(numpy.random.rand())]\n"
    seeded = kept.run(seed).value
    following = [tuple(kept.run(draw).value) for _ in range(5)]
    assert len(set(following)) == 5
    assert kept.run(seed).value == seeded
    again = [tuple(kept.run(draw).value) for _ in range(5)]
    assert not set(following) & set(again)


def test_environment_modules_stay_and_others_are_read_anew(zygote: TestZygote, kept: TestWorker) -> None:
    (zygote.folder / "mount" / "shared_code.py").write_text("VALUE = 1\n")
    path = str(zygote.folder / "mount")
    code = (
        f"import sys\nsys.path.insert(0, {path!r})\nimport shared_code, colorsys\ndef udf():\n"
        f"    return shared_code.VALUE\n"
    )
    assert kept.run(code).value == 1
    look = "import sys\ndef udf():\n    return ['colorsys' in sys.modules, 'shared_code' in sys.modules]\n"
    assert kept.run(look).value == [True, False]
    (zygote.folder / "mount" / "shared_code.py").write_text("VALUE = 22\n")
    assert kept.run(code).value == 22


def test_what_an_import_of_the_environment_does_may_stay(worker: TestWorker) -> None:
    code = (
        "def udf():\n    import plotly.graph_objects\n    import matplotlib\n"
        "    return len(matplotlib.colormaps) > 10\n"
    )
    first, second = worker.run(code), worker.run(code)
    assert first.value is second.value is True
    assert (first.replace, second.replace) == (None, None)
    assert second.header["execution_ms"] < 50


def test_ten_thousand_clean_checks_find_nothing(worker: TestWorker) -> None:
    code = (
        "import numpy, pandas, geopandas, shapely, pyarrow.compute as pc\ndef udf(n: int):\n"
        "    f = geopandas.GeoDataFrame({'n': range(n)}, geometry=shapely.points(range(n), range(n)), crs=4326)\n"
        "    return float(f.to_crs(3857).buffer(1).area.sum()) > 0 and f.groupby('n').size().sum() == n and "
        "pc.sum(f.n.to_numpy()).as_py() >= 0\n"
        ""
    )
    for n in range(1, 300):
        result = worker.run(code, query=[["n", str(n)]])
        assert result.value is True
        assert result.replace is None


def test_what_says_that_it_equals_anything_is_taken_away_all_the_same(worker: TestWorker) -> None:
    hostile = (
        "import sys, threading\nclass Equal:\n    __hash__ = None\n    def __eq__(self, other): return True\n"
        "    def __ne__(self, other): return False\n    def __call__(self, *a): return None\n"
        "def udf():\n    threading.setprofile(Equal())\n    sys.setprofile(Equal())\n    return 1\n"
    )
    look = "import sys, threading\ndef udf():\n    return [sys.getprofile() is None, threading.getprofile() is None]\n"
    assert worker.run(hostile).replace is None
    assert worker.run(look).value == [True, True]


def test_a_run_that_leaves_nothing_answers_and_is_ready_in_one_write(worker: TestWorker) -> None:
    code = "def udf():\n    return 7\n"
    worker.run(code)
    worker.connection.send(Kind.RUN, to_json(worker.order(code)))
    kind, _, body = worker.connection.read()
    assert (kind, bytes(body)) == (Kind.RESULT, b"7")
    assert worker.connection.has_unread  # its IDLE came along
    assert worker.connection.read()[1] == {"replace": None, "runs": 2}


@pytest.mark.parametrize(
    "leaves",
    ["os.chdir('/')", "open('left', 'w').close()", "os.environ.update(LEFT='1')", "random.seed(7)", "kept.append(1)"],
)
def test_a_run_that_leaves_something_answers_and_is_cleaned_up(worker: TestWorker, leaves: str) -> None:
    code = (
        f"import os, random\nkept = []\ndef udf(go: bool):\n    if go:\n        {leaves}\n"
        "    return [os.getcwd(), os.listdir('.'), 'LEFT' in os.environ, len(kept)]\n"
    )
    before = worker.run(code, typed={"go": False}).value
    assert worker.run(code, typed={"go": True}).replace is None
    assert worker.run(code, typed={"go": False}).value == before
