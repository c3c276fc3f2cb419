"""What a forked child does before it reads its first frame: descriptors, session, sandbox, environment, random numbers."""

from __future__ import annotations

import ctypes
import os
import random
import resource
import signal
import sys
import tempfile
from typing import Any

SOCKET = 3  # the descriptor of the frames in every worker
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

libc = ctypes.CDLL(None, use_errno=True)


def take_descriptors(sock: int, out: int, err: int) -> None:
    """``/dev/null``, the two pipes and the socket become 0 to 3; everything else is closed."""
    # Out of the way first: one of them may have the number that another must get.
    high = [os.dup(number) if number <= SOCKET else number for number in (sock, out, err)]
    null = os.open("/dev/null", os.O_RDWR)
    for source, target in ((null, 0), (high[1], 1), (high[2], 2), (high[0], SOCKET)):
        if source != target:
            os.dup2(source, target, inheritable=target != SOCKET)
    os.closerange(SOCKET + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def native() -> Any | None:
    """``fused._native``, or None where it is not built."""
    try:
        from fused import _native
    except ImportError:
        return None
    return _native


def fork(isolation: str, without: list[str]) -> int:
    """Like ``os.fork``, into namespaces where the machine allows it and they are wanted."""
    fork_worker = getattr(native(), "fork_worker", None)
    if fork_worker is None or isolation == "none":
        return os.fork()
    pid: int = fork_worker(isolation, without)
    return pid


def worker_status(pid: int, status: int) -> int:
    """The worker's own wait status: an init process may stand between."""
    translate = getattr(native(), "worker_status", None)
    return status if translate is None else int(translate(pid, status))


def leave_parent(parent: int) -> None:
    """A session and process group of its own; the kernel ends this process when the zygote ends."""
    if os.getpid() != os.getsid(0):
        os.setsid()
    if os.getppid() != 1:  # in a pid namespace the init process is the parent, and has seen to it
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(0)  # it ended in between
    # Orphans of a run's children come to this process, so that they can be found and ended.
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def first_for_the_kernel_to_kill() -> None:
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
    except OSError as error:
        print(f"oom_score_adj stays as it was: {error}", file=sys.stderr)


def default_signals() -> None:
    """As in a new Python process, but without Python's own SIGINT handler: nobody types Ctrl-C here."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if number in (signal.SIGKILL, signal.SIGSTOP):
            continue
        wanted = signal.SIG_IGN if number in (signal.SIGPIPE, signal.SIGXFSZ) else signal.SIG_DFL
        try:
            if signal.getsignal(number) != wanted:
                signal.signal(number, wanted)
        except OSError:
            continue  # the C library keeps it
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def environment(sandbox: dict[str, Any], scratch: str) -> dict[str, str]:
    """What a function sees as ``os.environ``: nothing of the server's own."""
    kept = ("LANG", "LC_ALL", "LC_CTYPE", "TZ", "FUSED_MOUNT", *THREAD_VARIABLES, *_CONFIGURATION)
    found = {name: os.environ[name] for name in kept if name in os.environ}
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
    if sandbox.get("python_paths"):
        found["PYTHONPATH"] = os.pathsep.join(sandbox["python_paths"])
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


def set_threads(threads: int) -> None:
    """Arrow's pools have their own count; BLAS and OpenMP took theirs from the environment in the zygote."""
    arrow = sys.modules.get("pyarrow")
    if arrow is not None:
        arrow.set_cpu_count(threads)
        arrow.set_io_thread_count(threads)


def enter_sandbox(sandbox: dict[str, Any]) -> dict[str, Any]:
    """Gives up what a function must not have; the report says what is in force. RuntimeError where it cannot be done."""
    import json

    enter = getattr(native(), "enter_sandbox", None)
    if enter is None:
        if sandbox.get("isolation") == "none":
            return {"isolation": [], "skipped": [{"step": "limits", "why": "fused._native is not built"}]}
        raise RuntimeError("fused._native with enter_sandbox is needed for isolation; build it, or choose --isolation none")
    report: dict[str, Any] = json.loads(enter(json.dumps(sandbox)))
    return report
