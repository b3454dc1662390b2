"""A run that becomes far slower than it began says so, once; one that meets other sessions does not."""

from centaurlab.scoring.pace import Pace


def told(pace: Pace, kind: str, speed: float, minutes: float) -> list[str]:
    """What is said over sessions of 1,000 tokens each."""
    seconds = 1_000 / speed
    return [said for _ in range(int(60 * minutes / seconds)) if (said := pace.add(kind, 1_000, seconds))]


def test_a_run_far_below_the_speed_of_its_start_says_so_once() -> None:
    pace = Pace()
    assert told(pace, "short", speed=1_000, minutes=5) == []
    assert told(pace, "short", speed=300, minutes=5) == [], "less than four times slower"
    assert told(pace, "long", speed=100, minutes=5) == [], "other sessions are no slower than they were"
    (said,) = told(pace, "short", speed=100, minutes=5)
    assert "take 10 times as long as then (1,000 tokens/s, now 100)" in said
    assert told(pace, "long", speed=1, minutes=60) == []


def test_a_short_halt_says_nothing() -> None:
    pace = Pace()
    assert told(pace, "short", speed=1_000, minutes=1) == []
    assert pace.add("short", 1_000, 20.0) is None
    assert pace.add("short", 1_000, 300.0) is None, "it slept"
    assert told(pace, "short", speed=1_000, minutes=1) == []
