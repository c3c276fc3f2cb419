"""``run_remote(output_table=…)``: the steps that write parts and make the table, and what is left when they end."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest

import fused
from fused._jobs import output_table
from fused._worker import context_state
from fused.models import JobConfig


class Killed(BaseException):
    """The process ended here."""


class Job:
    """Runs the tasks of a config as the server does, in this process."""

    def __init__(self, config: JobConfig, job_id: str = "job-a", items: list[Any] | None = None) -> None:
        self.first, self.last = config.steps
        self.job_id, self.submitted_ms = job_id, time.time_ns() // 1_000_000
        self.items = self.first.input if items is None else items

    def task(self, number: int, attempt: int = 1) -> Any:
        values = {"job_id": self.job_id, "task": number, "attempt": attempt, "submitted_ms": self.submitted_ms}
        context_state.set_current(context_state.RunContext({"context": values}))
        try:
            if number == len(self.items):
                return output_table.make_table(**self.last.udf.parameters)
            return fused.run(self.first.udf, engine="local", parameters=self.items[number])
        finally:
            context_state.set_current(None)

    def all(self, *but: int) -> Any:
        for number in range(len(self.items)):
            if number not in but:
                self.task(number)
        return self.task(len(self.items))


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    context_state.set_current(None)


@fused.udf
def rows(n: int, log: str = ""):
    from pathlib import Path

    import pandas as pd

    if log:
        with Path(log).open("a") as out:
            out.write(f"{n}\n")
    return None if n < 0 else pd.DataFrame({"n": [n, n + 1]})


def config_of(folder: Path, items: list[Any], overwrite: bool = False, udf: Any = rows) -> JobConfig:
    return output_table.with_output(udf(arg_list=items), str(folder / "table"), overwrite)


def read(folder: Path) -> list[int]:
    files = sorted(map(str, (folder / "table").glob("*.parquet")))
    return ds.dataset(files).to_table()["n"].to_pylist()  # type: ignore[no-any-return]


def left(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir() if each.name != "table" and not each.name.startswith("log"))


def test_equal_items_give_a_part_each_in_the_order_of_the_items(folder: Path) -> None:
    told = Job(config_of(folder, [5, 1, 5, -1])).all()
    assert told == {"table": str(folder / "table"), "parts": 3, "rows": 6}
    assert read(folder) == [5, 6, 1, 2, 5, 6]
    assert left(folder) == []


def test_a_retry_makes_only_what_is_missing_and_a_rerun_all(folder: Path) -> None:
    log = folder / "log"
    config = config_of(folder, [{"n": n, "log": str(log)} for n in (1, 1, 3)])
    Job(config).task(0)
    Job(config).task(0, attempt=2)
    assert log.read_text() == "1\n"  # the part of the attempt before it is there
    retry = Job(config, "job-b", items=config.steps[0].input[1:])
    retry.task(0)
    retry.task(1)
    assert log.read_text() == "1\n1\n3\n"
    assert retry.task(2)["parts"] == 3
    assert read(folder) == [1, 2, 1, 2, 3, 4]
    with pytest.raises(FileExistsError):
        Job(config, "job-c").all()  # it makes the table anew, and may not
    assert log.read_text() == "1\n1\n3\n" * 2
    shutil.rmtree(folder / "table")
    assert Job(config, "job-d", items=[]).all()["parts"] == 3  # a retry of its last step alone


def test_a_rerun_beside_its_job_keeps_its_own_parts(folder: Path) -> None:
    config = config_of(folder, [1, 2], overwrite=True)
    first, second = Job(config), Job(config, "job-b")
    second.task(0)
    first.all()
    second.task(1)
    assert second.task(2)["parts"] == 2
    assert read(folder) == [1, 2, 2, 3]
    assert left(folder) == []


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("deleted", [0, 1, 2, 3])
def test_a_last_step_that_is_killed_while_it_removes_parts_leaves_the_table_whole(
    folder: Path, monkeypatch: pytest.MonkeyPatch, overwrite: bool, deleted: int
) -> None:
    from pyarrow import fs

    class Dying(fs.LocalFileSystem):
        files_left = deleted

        def delete_file(self, path: str) -> None:
            if not self.files_left:
                raise Killed
            self.files_left -= 1
            super().delete_file(path)

    job = Job(config_of(folder, [1, 2, 3], overwrite))
    for number in range(3):
        job.task(number)
    with monkeypatch.context() as during:
        during.setattr(output_table, "_open", lambda url: (Dying(), url))
        with pytest.raises(Killed):
            job.task(3)
    assert job.task(3, attempt=2) == {"table": str(folder / "table"), "parts": 3, "rows": 6}
    assert read(folder) == [1, 2, 2, 3, 3, 4]
    assert left(folder) == []


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_last_step_that_is_killed_before_its_note_or_after_it_is_done(folder: Path, overwrite: bool) -> None:
    job = Job(config_of(folder, [1, 2], overwrite))
    put = output_table._put

    def killed(filesystem: Any, path: str, data: Any) -> None:
        if path.endswith(output_table.MADE):
            raise Killed
        put(filesystem, path, data)

    with pytest.MonkeyPatch.context() as during, pytest.raises(Killed):
        during.setattr(output_table, "_put", killed)
        job.all()
    assert job.task(2, attempt=2)["parts"] == 2
    assert left(folder) == []
    assert job.task(2, attempt=3)["table"] == str(folder / "table")  # it was ended before it could say so
    assert read(folder) == [1, 2, 2, 3]


def test_a_table_of_before_and_parts_that_are_gone_are_told(folder: Path) -> None:
    Job(config_of(folder, [1])).all()
    with pytest.raises(FileExistsError):
        Job(config_of(folder, [2])).all()
    config = config_of(folder, [3, 4], overwrite=True)
    with pytest.raises(ValueError, match=r"1 of 2 parts are in .*rerun"):
        Job(config).all(1)
    assert read(folder) == [1, 2]


def test_without_every_task_there_is_a_table_of_the_others_where_the_step_says_so(folder: Path) -> None:
    step = rows(arg_list=[1, 2])
    step.ignore_chunk_error = True
    assert Job(output_table.with_output(step, str(folder / "table"), False)).all(0)["parts"] == 1
    assert read(folder) == [2, 3]


def test_values_for_the_first_parameter_and_functions_of_any_keyword(folder: Path) -> None:
    step = rows()
    step.input = [7, 8]
    Job(output_table.with_output(step, str(folder / "table"), False)).all()
    assert read(folder) == [7, 8, 8, 9]

    @fused.udf
    def wide(**given):
        import pandas as pd

        return pd.DataFrame({"n": [len(given)]})

    Job(config_of(folder, [{"a": 1, "b": 2}], True, wide)).all()
    assert read(folder) == [2]


def test_a_parameter_of_the_hidden_name_is_refused(folder: Path) -> None:
    udf = fused.load("@fused.udf\ndef udf(fused_part_number: int = 1):\n    return fused_part_number\n")
    with pytest.raises(ValueError, match="fused_part_number"):
        output_table.with_output(udf(), str(folder / "table"), False)
