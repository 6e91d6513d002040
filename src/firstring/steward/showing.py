"""Explanations and questions as text in a terminal: bars for weights, records side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from firstring.identity.review.explain import PairExplained, otherwise, said, shown_probability
from firstring.store.identity.explaining import LinkView, PairWhy, PersonWhy, RecordView
from firstring.store.identity.hotkeys import HotKey
from firstring.store.identity.review import Effect, Question
from firstring.store.identity.verdicts import DecisionView, HeldView

BAR_CELLS: Final = 12
"""Half the width of a bar: the middle is "says nothing"."""
FULL_NATS: Final = 12.0
"""A weight that fills its half."""
_TIPS: Final = 3
_HIDDEN: Final = ("traces",)
_VALUE_CHARS: Final = 200


def bar(nats: float) -> Text:
    """A weight as a bar from the middle: to the right for one person, to the left against."""
    cells = min(BAR_CELLS, max(1, round(abs(nats) / FULL_NATS * BAR_CELLS))) if abs(nats) >= 0.05 else 0
    left, right = ("", "█" * cells) if nats > 0 else ("█" * cells, "")
    return Text.assemble((left.rjust(BAR_CELLS), "red"), ("│", "dim"), (right.ljust(BAR_CELLS), "green"))


def waterfall(pair: PairExplained) -> RenderableType:
    """Every part of a pair's log-odds with its running total, from what is common to what is decided."""
    table = Table("what", "weight", "nats", "total", box=None, pad_edge=False)
    total = 0.0
    for text, nats in _parts(pair):
        total += nats
        table.add_row(Text(text), bar(nats), f"{nats:+.2f}", f"{total:+.2f}")
    lines: list[RenderableType] = [table, Text(pair.verdict, style="bold")]
    lines += [Text(f"  {tip.text}", style="dim") for tip in pair.tips[:_TIPS]]
    return Group(*lines)


def _parts(pair: PairExplained) -> list[tuple[str, float]]:
    rival = otherwise(pair.against)
    found = [(f"to begin with, against {rival}", pair.prior_nats)]
    found += [(one.text, one.weight_nats) for one in pair.fields]
    if pair.cell_nats:
        found.append(("how often such names, dates and places go together by chance", pair.cell_nats))
    if pair.others_nats < -0.005:
        found.append(("the other explanations", pair.others_nats))
    if abs(pair.calibration_nats) > 0.005:
        found.append(("what calibration corrects", pair.calibration_nats))
    return found


def side_by_side(left: RecordView, right: RecordView) -> Table:
    """Two records, field by field; what differs is marked."""
    table = Table("", _title(left), _title(right), pad_edge=False)
    for name in dict.fromkeys((*left.fields, *right.fields)):
        if name in _HIDDEN:
            continue
        one, other = _value(left.fields.get(name)), _value(right.fields.get(name))
        style = "" if one == other else "dim" if not (one and other) else "yellow"
        table.add_row(said(name), Text(one, style=style), Text(other, style=style))
    return table


def _title(record: RecordView) -> str:
    seen = f", last seen {record.last_seen:%Y-%m-%d}" if record.last_seen else ""
    return escape(f"{record.source}:{record.name} (person {record.person_id}{seen})")


def _value(value: Any) -> str:
    if isinstance(value, dict):
        text = ", ".join(f"{name} {each}" for name, each in value.items())
    else:
        text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else "" if value is None else str(value)
    return text if len(text) <= _VALUE_CHARS else text[: _VALUE_CHARS - 1] + "…"


def show_pair(console: Console, why: PairWhy) -> None:
    """Two records: side by side, every weight, the way of links between them."""
    console.print(side_by_side(why.left, why.right))
    if why.pair is not None:
        console.print(waterfall(why.pair))
    for text in why.text:
        console.print(Text(f"- {text}"), soft_wrap=True)
    if len(why.path) > 1:
        _show_links(console, "the way from one to the other", why.path)


def show_person(console: Console, why: PersonWhy) -> None:
    """A person: its records, what holds them together, who is near by."""
    table = Table("record", "source", "its id", "last seen", title=f"person {why.person_id}", title_justify="left")
    for record in why.records:
        seen = f"{record.last_seen:%Y-%m-%d}" if record.last_seen else ""
        table.add_row(str(record.record_id), escape(record.source), escape(record.name), seen)
    console.print(table)
    _show_links(console, "what holds it together", why.links)
    for text in why.text:
        console.print(Text(f"- {text}"), soft_wrap=True)


def _show_links(console: Console, title: str, links: Sequence[LinkView]) -> None:
    if not links:
        return
    table = Table("record", "record", "link", title=title, title_justify="left")
    for link in links:
        table.add_row(str(link.left_record), str(link.right_record), Text(link.text))
    console.print(table)


def show_question(console: Console, question: Question) -> None:
    """A pair to be answered."""
    console.print(side_by_side(question.left, question.right))
    console.print(waterfall(question.pair))
    console.print(Text(f"asked because: {question.why}", style="dim"))


def show_effect(console: Console, effect: Effect) -> None:
    """What the answers say of the probabilities."""
    counts = ", ".join(f"{count:,} {answer}" for answer, count in sorted(effect.answers.items())) or "none yet"
    console.print(f"answers: {counts}", highlight=False)
    older = {version: count for version, count in effect.by_version.items() if version != effect.version}
    for version, count in sorted(older.items()):
        console.print(f"{count:,} of them were about what {version} stated", highlight=False)
    if effect.bins:
        table = Table("stated", "answers", "mean stated", "found", "95 %", title=effect.version, title_justify="left")
        for one in effect.bins:
            interval = f"{one.found_from:.2f} to {one.found_to:.2f}"
            table.add_row(
                f"{one.low:g} to {one.high:g}", f"{one.answers:,}", f"{one.stated:.3f}", f"{one.found:.3f}", interval
            )
        console.print(table)
    if effect.trained is not None:
        report = effect.trained.report
        text = (
            f"{effect.trained.version} ({effect.trained.state}) learned from {report.labels:,} answers ({report.taken}): of "
            f"the pairs compared {report.joined:,.0f} come to {report.threshold:g} or more, {report.parted:,.0f} fall below"
        )
        console.print(Text(text), soft_wrap=True)
    for wrong in effect.disagreements[:20]:
        stated = shown_probability(wrong.probability)
        text = f"{wrong.left} and {wrong.right}: {wrong.answer}, stated {stated} ({wrong.made_by})"
        console.print(Text(text), soft_wrap=True)


def show_hot_keys(console: Console, found: Sequence[HotKey]) -> None:
    """Identifiers that point at nobody."""
    if not found:
        console.print("no identifier is shared by more people than may share it")
        return
    table = Table("identifier", "key or value", "records", "points at", "why")
    for one in found:
        points = "nobody" if one.points_at_nobody else "somebody"
        reason = Text(f"{one.kind.replace('_', ' ')}: {one.reason}")
        table.add_row(said(one.identifier), escape(one.value or one.key[:12]), f"{one.records:,}", points, reason)
    console.print(table)


def show_held(console: Console, found: Sequence[HeldView]) -> None:
    """Merges that guards hold back."""
    if not found:
        console.print("no merge is held")
        return
    table = Table("person", "person", "best pair", "since", "guard")
    for one in found:
        guard = Text(f"{one.guard}: {one.text}")
        table.add_row(
            str(one.left_person),
            str(one.right_person),
            shown_probability(one.probability),
            f"{one.found_at:%Y-%m-%d}",
            guard,
        )
    console.print(table)


def show_decisions(console: Console, found: Sequence[DecisionView]) -> None:
    """Decisions about links."""
    if not found:
        console.print("nothing was decided")
        return
    table = Table("number", "kind", "record", "record", "by", "when", "why")
    for one in found:
        why = one.reason if one.revoked_at is None else f"{one.reason} (revoked by {one.revoked_by}: {one.revoked_reason})"
        table.add_row(
            str(one.decision_id), one.kind, escape(one.left), escape(one.right), escape(one.made_by),
            f"{one.made_at:%Y-%m-%d}", Text(why),
        )  # fmt: skip
    console.print(table)
