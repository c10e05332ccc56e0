"""The time budget: it ends between two chunks, before the one that would take too long."""

import pytest

from endless_talk.errors import InputError
from endless_talk.video.job_budget import TimeBudget


class Clock:
    def __init__(self):
        self.seconds = 1000.0

    def __call__(self):
        return self.seconds


def chunks_made(budget, clock, durations):
    """How many chunks of these durations, in seconds, are made before the budget says stop."""
    for made, seconds in enumerate(durations):
        if budget(made):
            return made
        clock.seconds += seconds
    return len(durations)


def test_no_budget_never_stops():
    clock = Clock()
    assert chunks_made(TimeBudget(0, clock), clock, [1e6] * 20) == 20


@pytest.mark.parametrize(
    ("minutes", "made"), [(1, 1), (1.99, 1), (2, 2), (2.01, 2), (5, 5), (6, 6)], ids=str
)
def test_as_many_chunks_are_made_as_fit(minutes, made):
    clock = Clock()
    assert chunks_made(TimeBudget(minutes, clock), clock, [60.0] * 20) == made


def test_the_first_chunk_is_made_however_short_the_time():
    clock = Clock()
    budget = TimeBudget(0.01, clock)
    clock.seconds += 600  # loading took longer than the whole budget
    assert chunks_made(budget, clock, [60.0] * 3) == 1


def test_loading_counts():
    clock = Clock()
    budget = TimeBudget(5, clock)
    clock.seconds += 150
    assert chunks_made(budget, clock, [60.0] * 9) == 2


def test_the_slowest_chunk_is_expected_again():
    clock = Clock()
    assert chunks_made(TimeBudget(5, clock), clock, [150.0, 30.0, 30.0, 30.0]) == 2


def test_it_says_how_long_it_was():
    assert "2.5 min" in TimeBudget(2.5).message


@pytest.mark.parametrize("minutes", [-1, float("nan"), float("inf")])
def test_what_is_no_time_is_refused(minutes):
    with pytest.raises(InputError, match="give minutes"):
        TimeBudget(minutes)
