"""Forks one worker, closes it in and runs a text in it. Reads a JSON order from stdin, prints a JSON answer.

Order: ``code`` (sets ``value``), ``outside`` (runs in the parent while the worker waits; sees ``pid``, ``data`` and
what the worker's text gave so far as ``value``), ``spec`` (members that replace the defaults), ``isolation`` and
``without``.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any


def load_native(path: str) -> Any:
    spec = importlib.util.spec_from_file_location("fused._native", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def spec_of(order: dict[str, Any]) -> dict[str, Any]:
    data = order["data"]
    program = os.path.dirname(os.path.dirname(os.path.realpath(sys.executable)))
    paths = [sys.prefix, sys.base_prefix, program, order["native"], *(path for path in sys.path if os.path.isabs(path))]
    spec = {
        "isolation": order.get("isolation", "auto"),
        "data": data,
        "mount": f"{data}/mount",
        "scratch": f"{data}/scratch/7",
        "python_paths": paths,
        "network": True,
        "limits": {},
        "without": order.get("without", []),
    }
    return {**spec, **order.get("spec", {})}


def child(native: Any, order: dict[str, Any], answer: int, go_on: int) -> None:
    answered: dict[str, Any] = {}
    try:
        spec = spec_of(order)
        begin = time.perf_counter()
        answered["report"] = json.loads(native.enter_sandbox(json.dumps(spec)))
        answered["enter_ms"] = (time.perf_counter() - begin) * 1e3
        names = {"native": native, "value": None, "data": order["data"], "spec": spec, "extra": order.get("extra")}
        exec(compile(order["code"], "<inside>", "exec"), names)
        answered["value"] = names["value"]
    except BaseException:
        answered["error"] = traceback.format_exc()
    os.write(answer, json.dumps(answered).encode() + b"\n")
    os.close(answer)
    os.read(go_on, 1)  # until the parent has looked, or is gone
    os._exit(0)


def main() -> None:
    order = json.load(sys.stdin)
    native = load_native(order["native"])
    signal.alarm(int(order.get("seconds", 60)))
    ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # not dumpable, as a zygote ought to be
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # a subreaper: what outlives a plainly forked worker is ended here
    answer_read, answer_write = os.pipe()
    go_read, go_write = os.pipe()
    native.probe_sandbox()
    begin = time.perf_counter()
    pid = native.fork_worker(order.get("isolation", "auto"), order.get("without", []))
    if pid == 0:
        os.close(answer_read)
        os.close(go_write)
        signal.alarm(0)
        child(native, order, answer_write, go_read)
    fork_ms = (time.perf_counter() - begin) * 1e3
    os.close(answer_write)
    os.close(go_read)
    text = b""
    while not text.endswith(b"\n") and (block := os.read(answer_read, 1 << 16)):  # others may hold the pipe open
        text += block
    answered: dict[str, Any] = json.loads(text) if text else {}
    answered |= {"pid": pid, "fork_ms": fork_ms}
    if order.get("outside") and "error" not in answered:
        names = {"native": native, "pid": pid, "data": order["data"], "value": answered.get("value"), "seen": None}
        names["spec"] = spec_of(order)
        exec(compile(order["outside"], "<outside>", "exec"), names)
        answered["seen"] = names["seen"]
    os.close(go_write)
    _, status = os.waitpid(pid, 0)
    answered["status"] = native.worker_status(pid, status)
    for orphan in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
        native.end_group(int(orphan))
    json.dump(answered, sys.stdout)


if __name__ == "__main__":
    main()
