"""What a function can see and change of the machine's files."""

# ruff: noqa: E501 (texts that run inside keep their lines)

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from tests.counts import tell

from .conftest import Sandbox, needs_tmp_as_scratch

SECRET = "canary-7d1f3a"

WALK = """
import os
def read(path):
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            return file.read(1 << 20) or b""
    except OSError:
        return b""
found, seen = [], 0
def look(top, depth=0):
    global seen
    for folder, folders, files in os.walk(top):
        if folder.startswith(("/proc/", "/sys", "/usr", *spec["python_paths"])):
            folders[:] = []
            continue
        for name in files:
            path = os.path.join(folder, name)
            if os.path.isfile(path) and os.path.getsize(path) < 1 << 20:
                seen += 1
                if secret in read(path):
                    found.append(path)
secret = extra["secret"].encode()
"""


def plant(sandbox: Sandbox, count: int = 50) -> list[str]:
    """Canaries wherever the server keeps what functions must not see."""
    places = [sandbox.data / "token", sandbox.data / "state.db", sandbox.data / "journal" / "1.log"]
    places += [sandbox.data / "scratch" / "8" / f"other-{number}" for number in range(count)]
    places += [sandbox.data / "s3" / "bucket" / f"object-{number}" for number in range(count)]
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(SECRET)
        os.chown(place, sandbox.uid, sandbox.uid if sandbox.uid else 0)
    return [str(place) for place in places]


def test_no_canary_of_the_data_folder_is_found_by_path_link_proc_or_walk(sandbox: Sandbox) -> None:
    sandbox.need("landlock")
    places = plant(sandbox)
    (sandbox.data / "mount" / "to_token").symlink_to(sandbox.data / "token")
    (sandbox.data / "mount" / "up").symlink_to("..")
    code = (
        WALK
        + """
for path in extra["places"]:
    for form in (path, "/proc/self/root" + path, "/proc/1/root" + path, "/proc/self/cwd/../.." + path[len(data):]):
        if secret in read(form):
            found.append(form)
for path in ("/mount/to_token", "/mount/up/token", "/mount/../" + data[1:] + "/token"):
    if secret in read(path):
        found.append(path)
for number in range(256):
    for tail in ("", "/../token", "/../../token", "/../../../token"):
        if secret in read(f"/proc/self/fd/{number}{tail}"):
            found.append(f"fd {number}{tail}")
for top in ("/", "/mount", data):
    look(top)
value = {"found": found, "seen": seen}
"""
    )
    value = sandbox.value(code, extra={"secret": SECRET, "places": places})
    tell(f"canaries planted: {len(places)}; files read inside: {value['seen']}; found: {len(value['found'])}")
    assert value["found"] == []


def test_of_the_data_folder_only_scratch_exists(sandbox: Sandbox) -> None:
    sandbox.need("private_root")
    plant(sandbox, 1)
    value = sandbox.value("import os; value = [os.listdir(data), os.listdir(data + '/scratch'), os.listdir('/')]")
    assert value[:2] == [["scratch"], ["7"]]
    assert not {"home", "srv", "opt", "run", "boot"} & set(value[2])


def test_mount_is_shared_and_keeps_what_is_written(sandbox: Sandbox) -> None:
    sandbox.need("private_root")
    (sandbox.data / "mount" / "given").write_text("from outside")
    value = sandbox.value("""
        value = open("/mount/given").read()
        import os
        os.makedirs("/mount/home/x")
        open("/mount/home/x/made", "w").write("from inside")
        os.rename("/mount/home/x/made", "/mount/home/made")
    """)
    assert value == "from outside"
    assert (sandbox.data / "mount" / "home" / "made").read_text() == "from inside"
    assert (sandbox.data / "mount" / "home" / "made").stat().st_uid == sandbox.uid


def test_logs_can_be_read_and_neither_written_nor_moved_aside(sandbox: Sandbox) -> None:
    sandbox.need("private_root")
    log = sandbox.data / "mount" / "fused-system" / "logs" / "2026-01-01" / "0000" / "owner" / "id" / "stdout.log"
    log.parent.mkdir(parents=True)
    log.write_text("said")
    if sandbox.ordinary:
        for path in (log, *list(log.parents)[:6]):
            os.chown(path, sandbox.uid, sandbox.uid)
    value = sandbox.value("""
        import os, shutil
        base = "/mount/fused-system"
        log = base + "/logs/2026-01-01/0000/owner/id/stdout.log"
        def refused(call, *given):
            try:
                call(*given)
            except OSError as error:
                return error.errno
            return None
        value = {"read": open(log).read(), "write": refused(open, log, "a"), "make": refused(os.mkdir, base + "/logs/x"),
                 "remove": refused(os.unlink, log), "move": refused(os.rename, base, "/mount/aside"),
                 "move_logs": refused(os.rename, base + "/logs", base + "/old")}
        os.makedirs(base + "/cached_data/x")
    """)
    assert value.pop("read") == "said"
    assert all(value.values()), value
    assert log.read_text() == "said"


@needs_tmp_as_scratch
def test_tmp_is_the_scratch_folder(sandbox: Sandbox) -> None:
    sandbox.need("private_root")
    value = sandbox.value("""
        import os, tempfile
        open("/tmp/a", "w").write("1")
        value = [os.getcwd(), sorted(os.listdir(spec["scratch"]))]
    """)
    assert value == [str(sandbox.data / "scratch" / "7"), ["a"]]
    assert os.listdir(sandbox.data / "scratch" / "7") == ["a"]


def test_a_data_folder_in_tmp_works_too(sandbox: Sandbox) -> None:
    sandbox.need("private_root")
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        data = Path(folder) / "data"
        for name in ("mount", "scratch/7"):
            (data / name).mkdir(parents=True)
        (data / "token").write_text(SECRET)
        for path in (Path(folder), data, *data.rglob("*")):
            os.chown(path, sandbox.uid, sandbox.uid)
        value = sandbox.value(
            """
            import os
            open("/tmp/a", "w").write("1")
            open(spec["scratch"] + "/b", "w").write("2")
            value = [os.getcwd(), os.listdir(data), os.listdir(spec["scratch"]), os.path.exists(data + "/token")]
            """,
            data=str(data),
        )
        assert value == [str(data / "scratch" / "7"), ["scratch"], ["b"], False]


def test_the_system_can_be_read_and_not_written(sandbox: Sandbox) -> None:
    sandbox.need("landlock")
    value = sandbox.value("""
        import os, sys
        def refused(path):
            try:
                os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
                os.unlink(path)
            except OSError as error:
                return True
            return False
        paths = ["/x", "/usr/x", "/usr/bin/x", "/etc/x", "/etc/passwd", "/dev/x", "/proc/x", "/proc/sys/kernel/core_pattern",
                 "/proc/sysrq-trigger", "/proc/sys/vm/drop_caches", "/proc/1/oom_score_adj", "/sys/devices/system/x",
                 os.path.dirname(os.__file__) + "/x.py", data + "/x", data + "/scratch/x", data + "/scratch/8/x", os.path.join("/", "root", "x")]
        value = {path: refused(path) for path in paths}
        open("/etc/passwd").read(), open("/proc/cpuinfo").read(), os.listdir("/usr/bin")
    """)
    assert all(value.values()), [path for path, refused in value.items() if not refused]


def test_what_only_root_may_read_is_not_there_even_for_root(sandbox: Sandbox) -> None:
    sandbox.need("landlock")
    value = sandbox.value("""
        import os
        def there(path):
            try:
                open(path).read(1)
                return True
            except OSError:
                return False
        paths = ["/etc/shadow", "/etc/gshadow", "/etc/sudoers", "/etc/machine-id", "/proc/kcore", "/proc/kmsg", "/dev/mem",
                 "/dev/kmsg", "/dev/sda", "/dev/tty", "/dev/fuse", "/dev/net/tun", "/run/docker.sock", "/etc/ssl/private"]
        value = [path for path in paths if there(path)]
    """)
    assert value == []


def test_devices_that_programs_need_are_there(sandbox: Sandbox) -> None:
    value = sandbox.value("""
        import os
        open("/dev/null", "w").write("x")
        value = [len(open("/dev/zero", "rb").read(4)), len(open("/dev/urandom", "rb").read(4))]
        with open("/dev/shm/x", "w") as file:
            file.write("1")
        os.unlink("/dev/shm/x")
    """)
    assert value == [4, 4]


@needs_tmp_as_scratch
def test_files_left_behind_are_gone_after_emptying(sandbox: Sandbox) -> None:
    value = sandbox.value(
        """
        import os
        os.makedirs("a/b/c")
        open("a/b/c/x", "w").write("1")
        os.symlink("/usr", "link")
        os.mkfifo("pipe")
        os.makedirs("closed/inner")
        open("closed/inner/x", "w").write("1")
        os.chmod("closed/inner", 0)
        os.chmod("closed", 0)
        for _ in range(3000):
            os.mkdir("d")
            os.chdir("d")
        os.chdir(spec["scratch"])
        if "private_root" in extra:
            open("/dev/shm/y", "w").write("1")
            open("/tmp/z", "w").write("1")
        left = native.empty_own_folders()
        value = [left, os.listdir(spec["scratch"]), os.path.exists("/usr/bin")]
    """,
        extra=sandbox.run("pass")["report"]["isolation"],
    )
    assert value == [0, [], True]


def test_each_worker_has_a_dev_shm_of_its_own(sandbox: Sandbox) -> None:
    sandbox.need("private_root")
    name = f"fused-test-{os.getpid()}"
    mark = Path("/dev/shm") / name
    mark.write_text(SECRET)
    try:
        value: Any = sandbox.value(
            f"""
            import os
            value = [os.listdir("/dev/shm"), os.statvfs("/dev/shm").f_blocks * os.statvfs("/dev/shm").f_frsize]
            open("/dev/shm/{name}-inside", "w").write("1")
        """,
            spec={"limits": {"memory_bytes": 64 << 20}},
        )
        assert value == [[], 64 << 20]
        assert not mark.with_name(name + "-inside").exists()
    finally:
        mark.unlink()
