"""What a forked child does before its first frame: descriptors, session, sandbox, environment, random numbers."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import contextlib
import ctypes
import faulthandler
import json
import os
import random
import resource
import signal
import sys
import tempfile
from typing import Any

SOCKET = 3  # the descriptor of the frames in every worker
_PR_SET_CHILD_SUBREAPER = 36

libc = ctypes.CDLL(None, use_errno=True)


def open_descriptors() -> frozenset[int]:
    """Numbers of what is open above the socket's; in the zygote, after the preload, these are files of libraries."""
    with os.scandir("/proc/self/fd") as entries:
        numbers = {int(entry.name) for entry in entries}
    return frozenset(number for number in numbers if number > SOCKET and _is_open(number))


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def take_descriptors(sock: int, out: int, err: int, libraries: frozenset[int]) -> None:
    """``/dev/null``, the two pipes and the socket become 0 to 3; everything else is closed.

    But for the libraries' own files (PROJ's database): they would go on to use the number, whatever it then is.
    """
    # Out of the way first: one of them may have the number that another must get.
    high = [os.dup(number) if number <= SOCKET else number for number in (sock, out, err)]
    null = os.open("/dev/null", os.O_RDWR)
    for source, target in ((null, 0), (high[1], 1), (high[2], 2), (high[0], SOCKET)):
        if source != target:
            os.dup2(source, target, inheritable=target != SOCKET)
    begin = SOCKET + 1
    for number in sorted(libraries):
        os.closerange(begin, number)
        begin = number + 1
    os.closerange(begin, min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 1 << 16))


peak_reset = -1  # /proc/self/clear_refs, which cannot be written once the sandbox is entered


def open_peak_reset() -> None:
    """So that a run's peak memory is its own and not an earlier one's."""
    global peak_reset
    with contextlib.suppress(OSError):
        peak_reset = os.open("/proc/self/clear_refs", os.O_WRONLY | os.O_CLOEXEC)


def collect_orphans() -> None:
    """Orphans of a run's children come to this process, so that "no children" means that nothing of a run is left."""
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def default_signals() -> None:
    """As in a new Python process, but without Python's own SIGINT handler: nobody types Ctrl-C here."""
    signal.set_wakeup_fd(-1)
    for number in range(1, signal.NSIG):
        wanted = 1 if number in (signal.SIGPIPE, signal.SIGXFSZ) else 0
        if _signal.getsignal(number) not in (wanted, None):  # None: not Python's to change
            with contextlib.suppress(OSError):  # SIGKILL, SIGSTOP
                _signal.signal(number, wanted)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def environment(sandbox: dict[str, Any], scratch: str) -> dict[str, str]:
    """What a function sees as ``os.environ``: nothing of the server's own."""
    found = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    found.update(
        PATH=os.pathsep.join(dict.fromkeys([os.path.dirname(sys.executable), "/usr/local/bin", "/usr/bin", "/bin"])),
        HOME=scratch,
        TMPDIR=scratch,
        USER="fused",
        LOGNAME="fused",
        MPLCONFIGDIR=os.path.join(scratch, "matplotlib"),
    )
    found.setdefault("LANG", "C.UTF-8")
    found.setdefault("FUSED_MOUNT", sandbox.get("mount") or "/mount")
    return found


THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "NUMEXPR_NUM_THREADS",
    "ARROW_IO_THREADS", "RAYON_NUM_THREADS", "POLARS_MAX_THREADS", "GDAL_NUM_THREADS",
)  # fmt: skip
_CONFIGURATION = (
    "ARROW_DEFAULT_MEMORY_POOL", "JE_ARROW_MALLOC_CONF", "GDAL_CACHEMAX", "GDAL_DATA", "PROJ_DATA", "PROJ_LIB",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
    "http_proxy", "https_proxy", "no_proxy",
)  # fmt: skip

# With --share-s3-keys the server names them FUSED_SHARED_…: those that merely lie in the environment are not shared.
SHARED_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION")

# What of the zygote's environment a function may see.
KEPT_VARIABLES = (
    "LANG", "LC_ALL", "LC_CTYPE", "TZ", "FUSED_MOUNT", "PYTHONPATH", "AWS_ENDPOINT_URL",
    *SHARED_KEYS,
    "FUSED_DOWNLOAD_PRIVATE", *THREAD_VARIABLES,
    *_CONFIGURATION,
)  # fmt: skip


def set_environment(sandbox: dict[str, Any], scratch: str) -> None:
    wanted = environment(sandbox, scratch)
    for name in list(os.environ):
        if name not in wanted:
            del os.environ[name]
    os.environ.update(wanted)
    os.umask(0o022)
    os.chdir(scratch)
    tempfile.tempdir = None


def new_random_numbers() -> None:
    """Two forks of one zygote would give the same numbers."""
    random.seed(os.urandom(32))
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed(list(os.urandom(64)))


_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # glibc's malloc.h
_MMAP_THRESHOLD_BYTES = 32 << 20  # the most that glibc takes
_TRIM_THRESHOLD_BYTES = 256 << 20
_TOP_PAD_BYTES = 1 << 20


def keep_freed_memory() -> None:
    """What a run frees stays in the heap for the next one, instead of a page fault for every 4 KiB of every array.

    A function that makes a few arrays of 512 KiB spends four fifths of its time in those faults. ``growth.py`` gives
    the memory back where there is much of it or nothing to do.
    """
    for option, value in (
        (_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES),
        (_M_TRIM_THRESHOLD, _TRIM_THRESHOLD_BYTES),
        (_M_TOP_PAD, _TOP_PAD_BYTES),
    ):
        libc.mallopt(option, value)


def set_threads(threads: int) -> None:
    """For what is loaded from now on by the environment; numpy's BLAS and Arrow, which the zygote has loaded, by name.

    In the zygote all have one thread: more would be started at import, and no fork may copy a thread.
    """
    for name in THREAD_VARIABLES:
        os.environ[name] = str(threads)
    if threads > 1:
        set_blas_threads(threads)
    arrow = sys.modules.get("pyarrow")
    if arrow is not None:
        arrow.set_cpu_count(threads)
        arrow.set_io_thread_count(threads)


WHERE_ARE_YOU = 34 + 7  # the signal; core/worker/run_order.hpp names the same number


def answer_where_you_are() -> None:
    """The Python lines of every thread go to stderr when the server asks before it ends a run, and upon a crash.

    From C, so that a function that holds the interpreter or loops in a library is found too.
    """
    faulthandler.enable(file=2, all_threads=True)
    faulthandler.register(WHERE_ARE_YOU, file=2, all_threads=True, chain=False)


def set_blas_threads(threads: int) -> None:
    """Of the OpenBLAS that comes with numpy's wheel; another BLAS keeps its one thread."""
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return
    folder = os.path.join(os.path.dirname(os.path.dirname(str(numpy.__file__))), "numpy.libs")
    names = os.listdir(folder) if os.path.isdir(folder) else []
    for name in names:
        if "openblas" in name:
            library = ctypes.CDLL(os.path.join(folder, name))
            for function in (
                "scipy_openblas_set_num_threads64_",
                "scipy_openblas_set_num_threads",
                "openblas_set_num_threads",
            ):
                if hasattr(library, function):
                    getattr(library, function)(threads)
                    break


def enter_sandbox(sandbox: dict[str, Any]) -> dict[str, Any]:
    """Gives up what a function must not have (``core/sandbox/sandbox.hpp``); the report says what is in force."""
    from fused import _native

    report: dict[str, Any] = json.loads(_native.enter_sandbox(json.dumps(sandbox)))
    return report


def own_folders(report: dict[str, Any], scratch: str) -> list[str]:
    """The folders that belong to this worker alone, and are emptied after every run."""
    return [scratch, *(["/tmp", "/dev/shm"] if "private_root" in report.get("isolation", ()) else [])]
