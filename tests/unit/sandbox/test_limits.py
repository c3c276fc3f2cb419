"""Limits of one worker, children counted in where the kernel can."""

# ruff: noqa: E501 (texts that run inside keep their lines)

from __future__ import annotations

import errno

import pytest

from .conftest import Sandbox


def test_limits_are_set_and_cannot_be_raised(sandbox: Sandbox) -> None:
    value = sandbox.value(
        """
        import resource
        def limit(which):
            return list(resource.getrlimit(which))
        value = [limit(resource.RLIMIT_NOFILE), limit(resource.RLIMIT_CORE), limit(resource.RLIMIT_FSIZE), limit(resource.RLIMIT_AS)]
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
            resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300))
            value.append("raised")
        except (OSError, ValueError):
            pass
    """,
        spec={"limits": {"descriptors": 256, "disk_written_bytes": 1 << 20, "result_bytes": 2 << 20}},
    )
    assert value == [[256, 256], [0, 0], [2 << 20, 2 << 20], [-1, -1]]


def test_a_sparse_file_of_100_gib_is_refused(sandbox: Sandbox) -> None:
    value = sandbox.value("""
        import os, signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        value = []
        for folder in (spec["scratch"], spec["mount"] if not os.path.isdir("/mount") else "/mount"):
            with open(folder + "/sparse", "wb") as file:
                try:
                    file.truncate(100 << 30)
                except OSError as error:
                    value.append(error.errno)
                try:
                    os.lseek(file.fileno(), 100 << 30, 0), os.write(file.fileno(), b"x")
                except OSError as error:
                    value.append(error.errno)
    """)
    assert value == [errno.EFBIG] * 4


def test_memory_far_over_the_limit_is_a_memory_error_and_reservations_are_not(sandbox: Sandbox) -> None:
    value = sandbox.value(
        """
        import mmap
        reserved = mmap.mmap(-1, 64 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000, prot=0)
        value = []
        try:
            bytearray(3 << 30)
        except MemoryError:
            value.append("refused")
        value.append(len(bytearray(100 << 20)))
    """,
        spec={"limits": {"memory_bytes": 256 << 20}},
    )
    assert value == ["refused", 100 << 20]


def test_a_fork_bomb_ends_at_the_limit(sandbox: Sandbox) -> None:
    sandbox.need("process_limit")
    value = sandbox.value(
        """
        import os, time
        made = 0
        try:
            for _ in range(2000):
                if os.fork() == 0:
                    time.sleep(600)
                made += 1
        except OSError as error:
            value = [made, error.errno]
        ended = native.end_children()
        value.append(ended == made)
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
    """,
        spec={"limits": {"processes": 60}},
    )
    # The bound of a pid namespace cannot be lower than 301; RLIMIT_NPROC does not hold for root.
    assert value[0] == 59 if sandbox.uid else 290 <= value[0] <= 301
    assert value[1:] == [errno.EAGAIN, True]


def test_threads_count_as_processes(sandbox: Sandbox) -> None:
    sandbox.need("process_limit")
    value = sandbox.value(
        """
        import threading
        go = threading.Event()
        value = 0
        try:
            for _ in range(1000):
                threading.Thread(target=go.wait, daemon=True).start()
                value += 1
        except RuntimeError:
            pass
        go.set()
    """,
        spec={"limits": {"processes": 60}},
    )
    assert value < (60 if sandbox.uid else 301)


def test_dev_shm_is_bounded_by_the_memory_limit(sandbox: Sandbox) -> None:
    sandbox.need("private_root")
    value = sandbox.value(
        """
        try:
            with open("/dev/shm/x", "wb") as file:
                for _ in range(64):
                    file.write(bytes(1 << 20))
        except OSError as error:
            value = error.errno
    """,
        spec={"limits": {"memory_bytes": 32 << 20}},
    )
    assert value == errno.ENOSPC


@pytest.mark.parametrize("kept", [[], [5]])
def test_descriptors_that_are_not_kept_are_closed(sandbox: Sandbox, kept: list[int]) -> None:
    value = sandbox.value(
        """
        import os
        value = sorted(int(name) for name in os.listdir("/proc/self/fd"))
    """,
        spec={"keep_descriptors": [4, 5, *kept]},
    )
    assert set(value) <= {0, 1, 2, 4, 5, 3, 6}
    assert len(value) <= 6


def test_isolation_none_sets_limits_only(sandbox: Sandbox) -> None:
    answer = sandbox.run(
        """
        import os
        value = [os.path.exists(data + "/mount"), os.getcwd(), open("/proc/self/oom_score_adj").read().strip()]
    """,
        isolation="none",
    )
    assert answer["value"] == [True, str(sandbox.data / "scratch" / "7"), "1000"]
    assert answer["report"]["isolation"] == ["limits", "oom_first", "group"]
    assert answer["report"]["mount"] == "env"
    assert {one["why"] for one in answer["report"]["skipped"]} == {"isolation is 'none'"}


def test_forty_forks_enter_and_their_cost_is_shown(sandbox: Sandbox) -> None:
    times = sandbox.run(
        "pass",
        outside="""
        import json, os, time
        seen = []
        for _ in range(40):
            read, write = os.pipe()
            begin = time.perf_counter()
            one = native.fork_worker("auto")
            if one == 0:
                native.enter_sandbox(json.dumps(spec))
                os.write(write, json.dumps((time.perf_counter() - begin) * 1e3).encode())
                os._exit(0)
            os.close(write)
            seen.append(json.loads(os.read(read, 100)))
            os.close(read)
            native.worker_status(*os.waitpid(one, 0))
    """,
    )["seen"]
    times.sort()
    print(f"fork_worker + enter_sandbox: best {times[0]:.2f}, median {times[20]:.2f}, worst {times[-1]:.2f} ms")
    assert len(times) == 40
