"""What the server's watch sees of a worker from outside."""

# ruff: noqa: E501 (texts that run inside keep their lines)

from __future__ import annotations

import textwrap

import pytest

from .conftest import Sandbox

MIB = 1 << 20
LOOK = "seen = native.group_usage(pid, data + '/scratch/7', {limit})"

USES = {
    "touched pages": "kept = bytearray(b'x') * (200 << 20)",
    "pages of a child": "import os, time\nr, w = os.pipe()\nif os.fork() == 0:\n    kept = bytearray(b'x') * (200 << 20)\n    os.write(w, b'1')\n"
    "    time.sleep(20)\n    os._exit(0)\nos.read(r, 1)",
    "memfd without a mapping": "import os\nkept = os.memfd_create('x')\nfor _ in range(200): os.write(kept, bytes(1 << 20))",
    "memfd held by two": "import os, time\nkept = os.memfd_create('x')\nfor _ in range(200): os.write(kept, bytes(1 << 20))\n"
    "if os.fork() == 0:\n    time.sleep(20)\n    os._exit(0)",
    "a shared mapping of two": "import mmap, os, time\nkept = mmap.mmap(-1, 200 << 20)\nkept.write(b'x' * (200 << 20))\nr, w = os.pipe()\n"
    "if os.fork() == 0:\n    kept[::4096]\n    os.write(w, b'1')\n    time.sleep(20)\n    os._exit(0)\nos.read(r, 1)",
}


@pytest.mark.parametrize("use", USES)
def test_memory_is_seen_once_wherever_it_is(sandbox: Sandbox, use: str) -> None:
    base = sandbox.run("pass", outside=LOOK.format(limit=1))["seen"]
    seen = sandbox.run(USES[use], outside=LOOK.format(limit=1))["seen"]
    assert base["memory_exact"] and seen["memory_exact"]
    assert 195 * MIB <= seen["memory_bytes"] - base["memory_bytes"] <= 225 * MIB


def test_memory_in_dev_shm_is_seen(sandbox: Sandbox) -> None:
    sandbox.need("private_root")
    seen = sandbox.run("open('/dev/shm/x', 'wb').write(bytes(200 << 20))", outside=LOOK.format(limit=1))["seen"]
    assert 200 * MIB <= seen["memory_bytes"] <= 260 * MIB


def test_while_memory_is_small_the_cheap_upper_estimate_is_given(sandbox: Sandbox) -> None:
    seen = sandbox.run("pass", outside=LOOK.format(limit=8 << 30))["seen"]
    assert not seen["memory_exact"]
    assert 0 < seen["memory_bytes"] < 4 << 30


@pytest.mark.parametrize("without", [[], ["mount_namespace"]])
def test_processes_and_threads_are_counted_without_the_init_process(sandbox: Sandbox, without: list[str]) -> None:
    answer = sandbox.run(
        """
        import os, subprocess, threading, time
        wait = threading.Event()
        for _ in range(5):
            threading.Thread(target=wait.wait, daemon=True).start()
        kept = [subprocess.Popen(["sleep", "20"], start_new_session=True) for _ in range(3)]
        if os.fork() == 0:
            if os.fork() == 0:
                time.sleep(20)
            os._exit(0)
        os.wait()
    """,
        without=without,
        outside=LOOK.format(limit=1 << 40),
    )
    assert answer["seen"]["processes"] == 5
    assert answer["seen"]["threads"] == 10


def test_scratch_is_measured_in_allocated_bytes_and_files(sandbox: Sandbox) -> None:
    seen = sandbox.run(
        """
        import os
        os.makedirs("a/b")
        open("a/b/x", "wb").write(bytes(3 << 20))
        os.symlink("/usr", "a/link")
        open("sparse", "wb").truncate(1 << 30)
    """,
        outside=LOOK.format(limit=1 << 40),
    )["seen"]
    assert seen["scratch_files"] == 5
    assert 3 * MIB <= seen["scratch_bytes"] < 4 * MIB


def test_a_tree_without_end_is_over_the_limit_and_costs_few_descriptors(sandbox: Sandbox) -> None:
    seen = sandbox.run(
        """
        import os
        for _ in range(2000):
            os.mkdir("d")
            os.chdir("d")
    """,
        outside="""
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
seen = native.group_usage(pid, data + '/scratch/7', 1 << 40)
""",
    )["seen"]
    assert seen["scratch_files"] > 100_000


def test_deleted_files_count_while_they_are_open(sandbox: Sandbox) -> None:
    text = """
        import os
        kept = [open(f"x{number}", "wb") for number in range(4)]
        for number, file in enumerate(kept):
            os.unlink(f"x{number}")
            os.posix_fallocate(file.fileno(), 0, 5 << 20)
        copies = [os.dup(file.fileno()) for file in kept]
        open("named", "wb").write(bytes(3 << 20))
    """
    seen = sandbox.run(text, outside=LOOK.format(limit=8 << 30))["seen"]
    assert 23 * MIB <= seen["scratch_bytes"] <= 24 * MIB


WRITES = {
    "by itself": "write('x')",
    "and removes it again": "write('x')\nos.unlink('x')",
    "by a child it waits for": "if os.fork() == 0:\n    write('x')\n    os._exit(0)\nos.wait()",
    "by a child of a child": "if os.fork() == 0:\n    if os.fork() == 0:\n        write('x')\n        os._exit(0)\n    os.wait()\n    os._exit(0)\nos.wait()",
    "by an orphan": "r, w = os.pipe()\nif os.fork() == 0:\n    if os.fork() == 0:\n        write('x')\n        os.write(w, b'1')\n        time.sleep(0.5)\n    os._exit(0)\n"
    "os.wait()\nos.read(r, 1)",
}


@pytest.mark.parametrize("way", WRITES)
def test_what_is_written_is_counted_whoever_wrote_it(sandbox: Sandbox, way: str) -> None:
    text = (
        "import os, threading, time\ndef write(name):\n    with open(name, 'wb') as file: file.write(bytes(20 << 20))\n"
        "def work():\n    while not os.path.exists('go'): time.sleep(0.01)\n"
        + textwrap.indent(WRITES[way], "    ")
        + "\n    open('done', 'w').close()\nwrite('before')\nthreading.Thread(target=work, daemon=True).start()\n"
    )
    outside = """
import os, time
watch = native.group_watch(pid, data + '/scratch/7', 8 << 30)
first = watch.sample()['written_bytes']
open(data + '/scratch/7/go', 'w').close()
deadline = time.monotonic() + 120
while not os.path.exists(data + '/scratch/7/done') and time.monotonic() < deadline: time.sleep(0.01)
time.sleep(0.1)
seen = [first, watch.sample()['written_bytes']]
time.sleep(0.6)
seen += [watch.sample()['written_bytes'] for _ in range(4)]
"""
    first, *later = sandbox.run(text, outside=outside)["seen"]
    assert first == 0
    assert 20 * MIB <= later[0] <= 21 * MIB
    assert set(later) == {later[0]}, "what was seen stays counted when its writer has ended"


def test_a_group_that_is_gone_uses_nothing(sandbox: Sandbox) -> None:
    seen = sandbox.run("pass", outside="seen = native.group_usage(2**22 - 3, data + '/scratch/7', 1 << 30)")["seen"]
    assert (seen["memory_bytes"], seen["processes"], seen["threads"]) == (0, 0, 0)
