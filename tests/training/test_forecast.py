"""What a run says about the time that it needs."""

import datetime

import pytest

from albert_tf.cli.text import duration, per_second
from albert_tf.training.report import Forecast


@pytest.mark.parametrize(("seconds", "shown"), [
    (0.2512, "0.25 s"),
    (9.0, "9 s"),
    (41.4, "41 s"),
    (59.7, "1 min"),
    (725, "12 min 5 s"),
    (3600, "1 h"),
    (54_120, "15 h 2 min"),
    (86_400 * 3 + 4 * 3600 + 59, "3 d 4 h"),
])  # fmt: skip
def test_times_have_their_two_largest_units(seconds, shown):
    assert duration(seconds) == shown


def test_slow_steps_are_shown_in_seconds():
    assert per_second(3.21) == "3.21 steps/s"
    assert per_second(0.08) == "12.5 s/step"


def forecasts(steps: int, at_once: int = 1, seconds_of_a_step: float = 2.0) -> dict[int, str]:
    """What the forecast says, by step; the first step takes a minute."""
    clock = [0.0]
    noon = datetime.datetime(2030, 1, 31, 12)
    forecast = Forecast(steps, lambda: clock[0], lambda: noon + datetime.timedelta(seconds=clock[0]))
    said = {}
    for step in range(at_once, steps + 1, at_once):
        clock[0] += seconds_of_a_step * at_once if step > at_once else 60
        line = forecast.advance(at_once)
        said |= {step: line} if line else {}
    return said


def test_a_long_run_is_told_by_its_first_hundred_steps_without_the_one_that_is_traced():
    assert forecasts(50_001) == {
        101: "by the first 100 steps, 2 s/step, the 49,900 left take 1 d 3 h, until 2030-02-01 15:47"
    }


def test_a_short_run_is_told_by_a_hundredth_of_it_and_no_less_than_ten_steps():
    assert list(forecasts(3000)) == [31]
    assert forecasts(211) == {
        11: "by the first 10 steps, 2 s/step, the 200 left take 6 min 40 s, until 12:08"
    }
    assert forecasts(20) == {}


def test_loops_on_the_device_are_counted_whole():
    assert list(forecasts(100_000, at_once=64)) == [3 * 64]
