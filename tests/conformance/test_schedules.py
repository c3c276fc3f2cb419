"""Schedules as the official client makes them (client-protocol.md §2.5)."""

from __future__ import annotations

from typing import Any

import pytest

import fused

pytestmark = pytest.mark.v2


@pytest.fixture
def saved(name: str) -> Any:
    @fused.udf
    def scheduled(region: str = "all"):
        return region

    scheduled.name = name
    return scheduled


def test_a_schedule_is_made_found_run_changed_and_deleted(saved: Any) -> None:
    made = saved.schedule(minute=5, hour=[1, 2], udf_args={"region": "north"})
    assert made.minute in (5, [5])
    assert made.hour == [1, 2]
    assert made.udf_args == {"region": "north"}
    found = fused.api.schedule_list()
    assert made.id in {each.id for each in found}
    again = saved.schedule(minute=7, hour=3)
    assert again.id == made.id
    assert again.hour == [3]
    run = again.run_now()
    assert getattr(run, "job_id", None) or run
    again.delete()
    assert made.id not in {each.id for each in fused.api.schedule_list()}


def test_a_minute_that_is_none_is_refused(saved: Any) -> None:
    with pytest.raises(Exception, match="59"):
        saved.schedule(minute=61, hour=1)
