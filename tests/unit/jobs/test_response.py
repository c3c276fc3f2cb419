"""``RunResponse``: what a caller sees of a job."""

from __future__ import annotations

import io
import json
from datetime import timedelta

import pytest
from job_server import ID, JobServer

import fused
from fused._jobs import by_id, response
from fused._jobs.response import SAMPLE_LINES, RunResponse
from fused.errors import BusyError, ConflictError, NotFoundError, UdfRuntimeError
from fused.warnings import FusedInProgressWarning


def line(at: int, message: str) -> dict[str, object]:
    return {"timestamp": at, "message": message}


@pytest.fixture
def job(jobs: JobServer) -> RunResponse:
    return RunResponse.of_json(jobs.record)


def test_a_status_is_new_and_a_refresh_changes_itself(jobs: JobServer, job: RunResponse) -> None:
    jobs.record["finished_tasks"] = 2
    assert job.get_status().finished_tasks == 2
    assert job.finished_tasks == 0
    assert job.refresh_status() is job
    assert job.finished_tasks == 2
    assert repr(job) == f"<RunResponse {ID} 'hello': running, 2 of 3 tasks>"
    assert job.logs_url == f"{jobs.url}/server/v1/logs/{ID}"


def test_waiting_ends_with_the_job_or_says_how_far_it_is(jobs: JobServer, job: RunResponse) -> None:
    with pytest.raises(TimeoutError, match=r"is running after 0\.05 s \(0 of 3 tasks\); it goes on"):
        job.wait_for_job(poll_interval_seconds=0.01, timeout=0.05)
    jobs.at_status = [lambda: None, lambda: None, lambda: jobs.end("failed")]
    assert job.wait_for_job(poll_interval_seconds=0.01).status == "failed"
    assert job.is_done
    with pytest.raises(ValueError, match="poll_interval_seconds is 0; it must be above 0"):
        job.wait_for_job(poll_interval_seconds=0)
    with pytest.raises(ValueError, match="timeout is -1; it is a number of seconds"):
        job.wait_for_job(timeout=-1)


def test_who_waits_asks_a_server_again_that_is_busy_or_gone_for_a_while(
    jobs: JobServer, job: RunResponse, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fused.options.request_max_retries = 0
    jobs.lines = [line(1_000, "a")]
    jobs.busy = 3
    jobs.at_status = [lambda: None, jobs.end]
    job.tail_logs(refresh_seconds=0.01)
    assert capsys.readouterr().out.endswith(" a\n")
    jobs.busy = 3
    assert job.wait_for_job(poll_interval_seconds=0.01).status == "done"
    monkeypatch.setattr(response, "PATIENCE_SECONDS", 0.02)
    jobs.busy = 1_000
    for waits in (job.wait_for_job, job.tail_logs):
        with pytest.raises(BusyError, match="the server stops"):
            waits(0.01)
    with pytest.raises(TimeoutError, match="it goes on"):
        monkeypatch.setattr(response, "PATIENCE_SECONDS", 60)
        job.wait_for_job(0.01, timeout=0.05)
    with pytest.raises(BusyError):  # of a bare id nothing is known: the address may be wrong
        RunResponse.of_id(ID).wait_for_job(0.01)


def test_the_server_may_say_done_before_it_is_terminal(jobs: JobServer, job: RunResponse) -> None:
    jobs.record["finished_job_status"] = True
    assert job.wait_for_job(timeout=5).is_done


def test_a_cancel_is_sent_and_a_second_one_is_a_conflict(jobs: JobServer, job: RunResponse) -> None:
    assert job.cancel().status == "canceled"
    assert job.is_done
    with pytest.raises(ConflictError, match="has ended"):
        job.cancel()
    with pytest.raises(NotFoundError, match="no job is known"):
        by_id.job_cancel("no-such-job")


def test_logs_are_printed_with_their_times(jobs: JobServer, job: RunResponse) -> None:
    jobs.lines = [line(1_764_000_000_007, "first\n"), line(1_764_000_001_000, "second")]
    file = io.StringIO()
    job.print_logs(file=file)
    assert file.getvalue() == "2025-11-24 16:00:00.007 first\n2025-11-24 16:00:01.000 second\n"
    assert job.get_logs(since_ms=1_764_000_001_000) == jobs.lines[1:]
    for wrong in (-1, True, "yesterday"):
        with pytest.raises(ValueError, match="since_ms is"):
            job.get_logs(since_ms=wrong)  # type: ignore[arg-type]


def test_a_tail_prints_each_line_once_until_the_end(
    jobs: JobServer, job: RunResponse, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs.lines = [line(1_000, "a"), line(1_000, "a")]
    jobs.at_status = [
        lambda: None,
        lambda: jobs.lines.append(line(1_000, "a")),  # of the same millisecond, with the same text
        lambda: jobs.lines.append(line(2_000, "b")),
        lambda: (jobs.lines.append(line(3_000, "last")), jobs.end()),
    ]
    job.tail_logs(refresh_seconds=0.01)
    said = [text.split(" ", 2)[2] for text in capsys.readouterr().out.splitlines()]
    assert said == ["a", "a", "a", "b", "last"]


def test_a_tail_leaves_out_much_or_prints_all(
    jobs: JobServer, job: RunResponse, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs.lines = [line(at, str(at)) for at in range(SAMPLE_LINES + 5)]
    jobs.end()
    job.tail_logs()
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("… 5 lines more")
    assert len(said) == SAMPLE_LINES + 1
    job.tail_logs(sample_logs=False)
    assert len(capsys.readouterr().out.splitlines()) == SAMPLE_LINES + 5


def test_a_tail_stops_after_its_time_and_the_job_goes_on(
    jobs: JobServer, job: RunResponse, capsys: pytest.CaptureFixture[str]
) -> None:
    job.tail_logs(refresh_seconds=0.01, timeout=0.05)
    assert "goes on" in capsys.readouterr().out
    assert not any("cancel" in asked for asked in jobs.asked)
    with pytest.raises(ValueError, match="refresh_seconds is 0"):
        job.tail_logs(refresh_seconds=0)


def test_its_time_is_from_the_first_line_to_the_last(jobs: JobServer, job: RunResponse) -> None:
    with pytest.warns(FusedInProgressWarning, match="running"), pytest.raises(ValueError, match="no log lines yet"):
        job.get_exec_time()
    jobs.lines = [line(5_000, "b"), line(1_500, "a")]
    jobs.end()
    assert job.get_exec_time() == timedelta(seconds=3.5)


def test_results_come_in_the_order_of_their_numbers(jobs: JobServer, job: RunResponse) -> None:
    with pytest.raises(ValueError, match=r"is running \(0 of 3 tasks\)"):
        job.get_results()
    jobs.files = {f"{i}.json": ("application/json", str(i).encode(), {}) for i in (10, *range(10))}
    jobs.record["total_tasks"] = 11
    jobs.files["readme.txt"] = ("text/plain", b"of the function itself", {})
    jobs.end()
    assert job.get_results() == list(range(11))
    assert job.get_results(2) == 2
    assert by_id.job_wait_for_results(ID) == list(range(11))
    with pytest.raises(ValueError, match=r"no result 11: it has the tasks 0 to 10$"):
        job.get_results(11)
    for wrong in (-2, True, "0"):
        with pytest.raises(ValueError, match="arg_index is"):
            job.get_results(wrong)  # type: ignore[arg-type]


def test_results_do_not_shift_where_a_task_left_none(jobs: JobServer, job: RunResponse) -> None:
    jobs.files = {f"{i}.json": ("application/json", str(i).encode(), {}) for i in (0, 2)}
    jobs.record["total_tasks"] = 4
    jobs.end("canceled")
    with pytest.raises(ValueError, match=rf"2 of 4 tasks .* \(1, 3\); get_results\(n\) .*fused jobs logs {ID}"):
        job.get_results()
    assert job.get_results(2) == 2


@pytest.mark.parametrize("beside", [True, False])
def test_a_failed_task_raises_its_error(jobs: JobServer, job: RunResponse, beside: bool) -> None:
    about = json.dumps(
        {"has_exception": True, "exception_class": "KeyError", "errormsg": "'x'", "error_type": "runtime_error"}
    )
    jobs.files = {"0.json": ("application/json", b"1", {})}
    if beside:
        jobs.files["1.json.metadata"] = ("application/json", about.encode(), {})
    else:
        jobs.files["1.json"] = ("application/json", b"", {"x-fused-metadata": about})
    jobs.end("failed")
    assert job.get_results(0) == 1
    with pytest.raises(UdfRuntimeError, match="'x'") as caught:
        job.get_results()
    assert caught.value.child_exception_class == "KeyError"


def test_a_job_is_named_by_its_id_or_itself(job: RunResponse) -> None:
    assert RunResponse.of_id(job) is job
    assert by_id.job_get_status(f" {ID} ").job_name == "hello"
    with pytest.raises(TypeError, match="not by int"):
        by_id.job_get_status(7)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="id is empty"):
        by_id.job_get_status("  ")
