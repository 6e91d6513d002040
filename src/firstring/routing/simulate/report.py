"""The comparison as one page of HTML: figures with intervals, charts as SVG; nothing is loaded; light and dark."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Final

from firstring.routing.simulate.compare import FIRST_COME, Compared, Comparison, Mean

POSSIBLE: Final = "Share of what is possible"
_WIDTH: Final = 640
_LABEL: Final = 120
_ROW: Final = 30

_STYLE: Final = """
:root{color-scheme:light dark;
--ink:#1c2024;--soft:#60646c;--line:#d9d9e0;--paper:#fff;--bar:#3b6fd4;--first:#8b8d98}
@media (prefers-color-scheme:dark){:root{
--ink:#edeef0;--soft:#b0b4ba;--line:#43484e;--paper:#15171a;--bar:#5b84d6;--first:#8b8d98}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);
max-width:74rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .3rem}
p{color:var(--soft);margin:.2rem 0 .8rem;max-width:46rem}small{color:var(--soft)}
table{border-collapse:collapse;width:100%;font-size:.86rem;font-variant-numeric:tabular-nums}.scroll{overflow-x:auto}
th,td{padding:.3rem .45rem;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th:first-child,td:first-child{text-align:left}th{font-weight:600;color:var(--soft)}
svg{display:block;width:100%;min-width:34rem;max-width:44rem;height:auto}
svg text{fill:var(--ink);font-size:13px}svg .soft{fill:var(--soft)}
"""


def page(result: Comparison) -> str:
    """A whole HTML document."""
    world = result.world
    name = escape(world.name)
    about = (
        f"{world.agent_count} agents, {world.per_hour:,.0f} contacts an hour, types: {len(world.types)}, "
        f"load {world.load:.2f}; "
        f"{world.hours:g} hours, {world.warm_up_hours:g} of them not counted; {len(result.seeds)} runs (seeds "
        f"{result.seeds[0]} to {result.seeds[-1]}). All policies meet the same contacts with the same patience."
    )
    charts = "".join(
        _chart(title, text, result, value, factor, unit) for title, text, value, factor, unit in _charts(result)
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{name}</title><style>{_STYLE}</style></head><body><main><h1>{name}</h1><p>{escape(about)}</p>"
        f"{_table(result)}{charts}{_by_run(result)}</main></body></html>\n"
    )


Value = Callable[[Compared], Mean]


def _charts(result: Comparison) -> list[tuple[str, str, Value, float, str]]:
    def of(name: str) -> Value:
        return lambda compared: compared.mean(name)

    return [
        (
            POSSIBLE,
            "From first come (0) to the bound of the linear programme (100), which knows every contact beforehand and lets "
            "nobody wait. Lines are 95 % intervals over the runs, cut off where they are much longer than the bars.",
            lambda compared: compared.gap,
            100.0,
            "%",
        ),
        ("Success per contact", "Expected success of the pairs that were made; hanging up is none.", of("success"), 1.0, ""),
        ("Hanging up", "Share of all contacts.", of("abandoned"), 100.0, "%"),
        ("Mean speed of answer", "Of the contacts that were answered.", of("answer_s"), 1.0, "s"),
        ("Longest wait", "Mean over the runs of the longest wait in each.", of("wait_max_s"), 1.0, "s"),
        (f"Answered within {result.world.target_s:g} s", "Share of all contacts.", of("in_time"), 100.0, "%"),
        (
            "Spread of occupancy",
            "The busiest agent's share of busy time less that of the least busy one.",
            of("occupancy_spread"),
            100.0,
            "points",
        ),
    ]


def _chart(title: str, text: str, result: Comparison, value: Value, factor: float, unit: str) -> str:
    """Horizontal bars with intervals."""
    means = [value(compared) for compared in result.policies]
    known = [mean for mean in means if mean.mean == mean.mean]
    tops, bottoms = ([0.0, *(factor * (mean.mean + side * _half(mean)) for mean in known)] for side in (1, -1))
    middles = [0.0, *(factor * mean.mean for mean in known)]
    # Few runs have intervals many times as long as the bars: they are cut off, so that the bars can be compared.
    room = 0.6 * (max(middles) - min(middles))
    low = max(min(bottoms), min(middles) - room) if min(middles) < 0.0 or title == POSSIBLE else 0.0
    high = min(max(tops), max(middles) + room)
    span = (high - low) or 1.0
    wide = _WIDTH - _LABEL - 150

    def x(at: float) -> float:
        return _LABEL + (min(max(at, low), high) - low) / span * wide

    rows = []
    for place, (compared, mean) in enumerate(zip(result.policies, means, strict=True)):
        y, at = place * _ROW, factor * mean.mean
        rows.append(f'<text x="0" y="{y + 19}">{escape(compared.policy)}</text>')
        if at != at:
            rows.append(f'<text x="{_LABEL}" y="{y + 19}" class="soft">no gap</text>')
            continue
        half = factor * _half(mean)
        colour = "var(--first)" if compared.policy == FIRST_COME else "var(--bar)"
        left, right = sorted((x(0.0), x(at)))
        rows.append(
            f'<rect x="{left:.1f}" y="{y + 6}" width="{max(right - left, 1):.1f}" height="18" rx="2" fill="{colour}"/>'
        )
        if half:
            rows.append(f'<path d="M{x(at - half):.1f} {y + 15}H{x(at + half):.1f}" stroke="var(--ink)" stroke-width="2"/>')
        rows.append(f'<text x="{x(high) + 8:.1f}" y="{y + 19}">{_text(mean, factor)} {unit}</text>')
    height = _ROW * len(means)
    label = escape(title, quote=True)
    return (
        f"<h2>{escape(title)}</h2><p>{escape(text)}</p>"
        f'<div class="scroll"><svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{label}">'
        f"{''.join(rows)}</svg></div>"
    )


def _table(result: Comparison) -> str:
    columns: Sequence[tuple[str, Callable[[Compared], str]]] = (
        ("success", lambda c: _text(c.mean("success"), 1.0)),
        ("uplift %", lambda c: _text(c.uplift, 100.0)),
        ("gap %", lambda c: _text(c.gap, 100.0)),
        ("hang up %", lambda c: _text(c.mean("abandoned"), 100.0)),
        ("answer s", lambda c: _text(c.mean("answer_s"), 1.0)),
        ("95 % wait s", lambda c: _text(c.mean("wait_p95_s"), 1.0)),
        ("longest s", lambda c: f"{max(run.wait_max_s for run in c.runs):.0f}"),
        (f"≤ {result.world.target_s:g} s %", lambda c: _text(c.mean("in_time"), 100.0)),
        ("overtaken %", lambda c: _text(c.mean("late_share"), 100.0)),
        ("occupancy", lambda c: f"{c.mean('occupancy_min').mean:.2f}–{c.mean('occupancy_max').mean:.2f}"),
        ("handle s", lambda c: _text(c.mean("handle_s"), 1.0)),
    )
    head = "".join(f"<th>{escape(name)}</th>" for name, _ in columns)
    body = "".join(
        f"<tr><td>{escape(c.policy)}</td>" + "".join(f"<td>{shown(c)}</td>" for _, shown in columns) + "</tr>"
        for c in result.policies
    )
    return (
        f'<div class="scroll"><table><thead><tr><th>policy</th>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        f"<p><small>Bound: {_text(result.bound, 1.0)} success per contact. ± is half of the 95 % interval over the runs; "
        "uplift and gap are paired, run by run. Overtaken: served more than 30 s later than first come would have, with the "
        "same agents becoming free at the same moments.</small></p>"
    )


def _by_run(result: Comparison) -> str:
    rows = "".join(
        f"<tr><td>{escape(c.policy)}</td><td>{seed}</td><td>{run.contacts}</td><td>{run.success:.4f}</td>"
        f"<td>{100 * run.abandoned:.2f}</td><td>{run.answer_s:.1f}</td><td>{run.wait_max_s:.0f}</td>"
        f"<td>{run.occupancy_spread:.3f}</td></tr>"
        for c in result.policies
        for seed, run in zip(result.seeds, c.runs, strict=True)
    )
    return (
        '<h2>Every run</h2><div class="scroll"><table><thead><tr><th>policy</th><th>seed</th><th>contacts</th>'
        "<th>success</th><th>hang up %</th><th>answer s</th><th>longest s</th><th>spread</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )


def _half(mean: Mean) -> float:
    return 0.0 if mean.half != mean.half else mean.half


def _text(mean: Mean, factor: float) -> str:
    if mean.mean != mean.mean:
        return "-"
    size = abs(factor * mean.mean)
    digits = 4 if factor == 1.0 and size <= 1.0 else 1 if size >= 10.0 else 2
    half = f" ±{factor * mean.half:.{digits}f}" if mean.half == mean.half else ""
    return f"{factor * mean.mean:.{digits}f}{half}"
