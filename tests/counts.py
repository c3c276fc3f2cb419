"""Counts that a test shows in the summary of a run, also when it passes: kills survived, clients put out, …"""

from __future__ import annotations

import re

import pytest

MARK = "counts: "


def tell(text: str) -> None:
    """Shows ``text`` at the end of the run (and at once under ``-s``)."""
    print(f"\n{MARK}{text}")


def show(reporter: pytest.TerminalReporter) -> None:
    """Prints what the tests told, in the order in which they ended."""
    told = [
        (report.nodeid, line.removeprefix(MARK))
        for outcome in ("passed", "failed", "skipped")
        for report in reporter.stats.get(outcome, ())
        for line in getattr(report, "capstdout", "").splitlines()
        if line.startswith(MARK)
    ]
    if told:
        reporter.section("counts")
    for nodeid, line in dict.fromkeys(told):
        name = re.sub(r".*/(?:test_)?(.*)\.py::.*", r"\1", nodeid)
        reporter.write_line(f"{name}: {line}")
