"""Figures and small charts of the pages about proof: text, and SVG without styles of its own. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from markupsafe import Markup

from firstring.routing.fit.calibration import Stated
from firstring.store.routing.looking import Figure

SIDE: Final = 200.0
LEFT: Final = 44.0
BOTTOM: Final = 26.0


def amount(metric: str, value: float | None, *, signed: bool = False) -> str:
    """A figure of a metric as people read it: seconds, or per cent."""
    if value is None:
        return "–"
    is_time = metric in ("handle_s", "wait_s", "handle")
    number = round(value if is_time else 100.0 * value, 1) + 0.0  # no minus before nothing
    text = f"{number:{'+' if signed and number else ''}.1f} {'s' if is_time else '%'}"
    return text.replace("-", "\u2212").replace(" ", "\u00a0")


def metric_name(metric: str) -> str:
    """A metric in words."""
    return {"handle_s": "handle time", "wait_s": "wait", "repeated": "in contact again"}.get(metric, metric)


def span(metric: str, figure: Figure) -> str:
    """A difference with its interval."""
    if figure.value is None:
        return "–"
    low, high = amount(metric, figure.low, signed=True), amount(metric, figure.high, signed=True)
    return f"{amount(metric, figure.value, signed=True)} ({low} to {high})"


def interval_bar(value: float | None, low: float | None, high: float | None, most: float) -> Markup:
    """A difference on a scale from -most to most: a dot, its interval, and the line of no difference."""
    if value is None or low is None or high is None or most <= 0.0:
        return Markup()

    def place(number: float) -> str:
        return f"{50.0 + 50.0 * max(-1.0, min(1.0, number / most)):.2f}"

    return Markup(
        '<svg class="span" viewBox="0 0 100 16" preserveAspectRatio="none" aria-hidden="true">'
        '<line class="zero" x1="50" x2="50" y1="0" y2="16"/>'
        '<line class="reach" x1="{}" x2="{}" y1="8" y2="8"/><line class="at" x1="{}" x2="{}" y1="3" y2="13"/></svg>'
    ).format(place(low), place(high), place(value), place(value))


def calibration_chart(name: str, groups: Sequence[Stated]) -> Markup:
    """What was stated (across) against what happened (upwards), each group with its interval; on the line both are the
    same."""
    if not groups:
        return Markup()
    ends = [number for one in groups for number in (one.stated, one.low, one.high)]
    low, high = min(ends), max(ends)
    room = 0.05 * (high - low) or 1.0
    low, high = max(0.0, low - room), high + room

    def across(value: float) -> float:
        return LEFT + (value - low) / (high - low) * SIDE

    def upwards(value: float) -> float:
        return SIDE - (value - low) / (high - low) * SIDE + 4.0

    parts = [
        Markup('<line class="zero" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(
            across(low), upwards(low), across(high), upwards(high)
        )
    ]
    for one in groups:
        x = across(one.stated)
        parts.append(
            Markup('<line class="reach" x1="{0:.1f}" x2="{0:.1f}" y1="{1:.1f}" y2="{2:.1f}"/>').format(
                x, upwards(one.low), upwards(one.high)
            )
        )
        parts.append(Markup('<circle class="at" cx="{:.1f}" cy="{:.1f}" r="3.5"/>').format(x, upwards(one.happened)))
    for value in (low, (low + high) / 2.0, high):
        text = f"{value:.0f} s" if name == "handle" else f"{100.0 * value:.0f} %"
        parts.append(Markup('<text x="{:.1f}" y="{:.1f}" class="below">{}</text>').format(across(value), SIDE + 20.0, text))
        parts.append(
            Markup('<text x="{:.1f}" y="{:.1f}" class="beside">{}</text>').format(LEFT - 6.0, upwards(value) + 4.0, text)
        )
    box = Markup('<svg class="chart" viewBox="0 0 {:.0f} {:.0f}" role="img" aria-label="{}">').format(
        LEFT + SIDE + 20.0, SIDE + BOTTOM + 4.0, f"{name}: what was stated against what happened, as in the table"
    )
    return box + Markup("").join(parts) + Markup("</svg>")
