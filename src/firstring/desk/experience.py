"""The experience of a person as a pop shows it: the score, a line of the last weeks, and what weighs most. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import Final, Literal, NamedTuple

from firstring.contact import Decision
from firstring.journey.experience import Part, experience, over_time

SPAN: Final = timedelta(days=28)
STEPS: Final = 14
WIDTH: Final = 100.0
HEIGHT: Final = 24.0
PARTS_SHOWN: Final = 3
_WORDS: Final = ((80.0, "good", "ok"), (60.0, "fair", "ok"), (40.0, "poor", "warn"), (0.0, "bad", "bad"))

Level = Literal["ok", "warn", "bad"]


class ExperienceView(NamedTuple):
    """score: 0-100; line: points of a polyline in a box of WIDTH x HEIGHT, the best on top; end: its last point; change:
    against the start of the line. parts: (points with their sign, reason), the heaviest first."""

    score: int
    words: str
    level: Level
    change: int
    line: str
    end: tuple[float, float]
    parts: tuple[tuple[str, str], ...]


def experience_view(decision: Decision, person_id: int) -> ExperienceView | None:
    """Out of what the decision read; None where nothing is on file of the person."""
    hosts = decision.derived.resolution.unnamed
    touches = [
        touch
        for touch in decision.read.touches
        if touch.person_id == person_id or person_id in hosts.get(touch.person_id, ())
    ]
    if not touches:
        return None
    now = decision.decided_at
    scores = over_time(touches, [now - SPAN + step * SPAN / STEPS for step in range(STEPS + 1)])
    points = [(WIDTH * step / STEPS, HEIGHT * (1.0 - score / 100.0)) for step, score in enumerate(scores)]
    words, level = next((words, level) for least, words, level in _WORDS if scores[-1] >= least)
    return ExperienceView(
        score=round(scores[-1]),
        words=words,
        level=level,  # type: ignore[arg-type]
        change=round(scores[-1]) - round(scores[0]),
        line=" ".join(f"{x:.1f},{y:.1f}" for x, y in points),
        end=(round(points[-1][0], 1), round(points[-1][1], 1)),
        parts=tuple(_shown(part) for part in _together(experience(touches, now).parts)[:PARTS_SHOWN]),
    )


def _together(parts: tuple[Part, ...]) -> list[Part]:
    """Parts of one reason as one, the heaviest first."""
    sums: dict[str, float] = {}
    for part in parts:
        sums[part.reason] = sums.get(part.reason, 0.0) + part.points
    return sorted(
        (Part(0, points, reason) for reason, points in sums.items()), key=lambda one: (-abs(one.points), one.reason)
    )


def _shown(part: Part) -> tuple[str, str]:
    return f"{part.points:+.0f}".replace("-", "\u2212"), part.reason
