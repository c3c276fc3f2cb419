from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fused._duration import SECONDS_MAX, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"), [("48h", 172800), ("10s", 10), ("30m", 1800), ("90d", 7776000), ("0s", 0), ("0", 0), (60, 60)]
)
def test_the_seeds_units_are_read(text: str | int, seconds: int) -> None:
    assert parse_duration(text) == seconds


def test_timedelta_is_read() -> None:
    assert parse_duration(timedelta(minutes=2)) == 120


@pytest.mark.parametrize(
    "value", ["", "h", "5", "1.5h", "-1s", "1 h", "1h30m", "5w", "٣s", "40000d", -1, True, None, 2.5]
)
def test_anything_else_is_refused_with_the_value_named(value: object) -> None:
    with pytest.raises(ValueError, match="cache_max_age="):
        parse_duration(value)  # type: ignore[arg-type]


@given(st.integers(0, SECONDS_MAX))
def test_what_is_written_is_read_again(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds
