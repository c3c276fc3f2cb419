"""Machines that refuse a step: what is left still holds, and the report says what is missing."""

# ruff: noqa: E501 (texts that run inside keep their lines)

from __future__ import annotations

import errno

import pytest

from tests.counts import tell

from .conftest import Sandbox

STEPS = ["user_namespace", "pid_namespace", "ipc_namespace", "mount_namespace", "private_root", "descriptors", "limits",
         "process_limit", "oom_first", "group", "nondumpable", "no_new_privs", "capabilities", "landlock", "landlock_scope", "seccomp"]  # fmt: skip


def test_the_report_names_every_step_once(sandbox: Sandbox) -> None:
    report = sandbox.run("pass")["report"]
    named = [*report["isolation"], *(one["step"] for one in report["skipped"])]
    assert sorted(named) == sorted(STEPS)
    assert all(one["why"] for one in report["skipped"])
    tell(f"{sandbox.uid=}: in force {len(report['isolation'])}, skipped {[one['step'] for one in report['skipped']]}")


@pytest.mark.parametrize("without", [[step] for step in ("user_namespace", "pid_namespace", "ipc_namespace", "mount_namespace",
                                     "private_root", "landlock", "landlock_scope", "seccomp", "process_limit", "oom_first")])  # fmt: skip
def test_without_a_step_the_worker_starts_and_says_so(sandbox: Sandbox, without: list[str]) -> None:
    report = sandbox.run("open('x', 'w').write('1')", without=without)["report"]
    assert without[0] in [one["step"] for one in report["skipped"]]
    assert without[0] not in report["isolation"]


def test_without_a_mount_namespace_landlock_hides_the_data_folder(sandbox: Sandbox) -> None:
    sandbox.need("landlock")
    (sandbox.data / "token").write_text("canary")
    (sandbox.data / "scratch" / "8" / "other").write_text("canary")
    answer = sandbox.run(
        """
        import os
        def refused(call, *given):
            try:
                call(*given)
            except OSError as error:
                return error.errno
            return 0
        value = [refused(open, path) for path in (data + "/token", data + "/scratch/8/other", "/etc/shadow", data + "/mount/../token")]
        value += [refused(os.listdir, path) for path in (data, data + "/scratch/8", "/root", "/home", "/tmp")]
        value += [refused(open, path, "w") for path in (data + "/x", "/tmp/x", "/var/tmp/x", "/usr/x")]
        open(data + "/mount/made", "w").write("1")
        open("made", "w").write("1")
        open(f"/proc/{os.getpid()}/environ", "rb").read()
        value.append(refused(lambda: open(f"/proc/{os.getppid()}/environ", "rb").read()))
    """,
        without=["mount_namespace"],
    )
    assert answer["report"]["mount"] == "env"
    assert 0 not in answer["value"], answer["value"]
    assert (sandbox.data / "mount" / "made").exists()


def test_root_without_user_namespaces_still_has_a_root_of_its_own(sandbox: Sandbox) -> None:
    if sandbox.uid:
        assert sandbox.run("pass", without=["user_namespace"])["report"]["mount"] == "env"
        return
    answer = sandbox.run("import os; value = [os.listdir(data), os.getpid()]", without=["user_namespace"])
    assert answer["report"]["mount"] == "namespace"
    assert answer["value"] == [["scratch"], 2]


def test_abstract_sockets_of_strangers_are_out_of_reach(sandbox: Sandbox) -> None:
    sandbox.need("landlock_scope")
    import os
    import socket

    name = f"\0fused-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(name)
        listening.listen()
        value = sandbox.value(f"""
            import socket
            try:
                socket.socket(socket.AF_UNIX).connect({name!r})
            except OSError as error:
                value = error.errno
        """)
    assert value == errno.EPERM


@pytest.mark.parametrize("spec", [{"scratch": "/nowhere/at/all"}, {"mount": "/nowhere/at/all", "data": "/nowhere/at"},
                                  {"python_paths": ["/"]}])  # fmt: skip
def test_a_step_that_ought_to_work_and_fails_is_an_error(sandbox: Sandbox, spec: dict[str, object]) -> None:
    sandbox.need("private_root")
    if "mount" in spec and sandbox.uid == 0:
        spec = {**spec, "mount": "/proc/nowhere"}
    answer = sandbox.run("value = 1", spec=spec, may_fail=True)
    assert "value" not in answer
    assert "RuntimeError" in answer["error"] or "ValueError" in answer["error"]
