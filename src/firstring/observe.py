"""What the operators see: metrics (Prometheus) and structured logs without personal data."""

from __future__ import annotations

import logging
import re
import sys
import uuid
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_BUCKETS_S = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 0.85, 2.0)


class Metrics:
    """One registry per server, so that two servers in one process do not mix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._stage = Histogram(
            "firstring_stage_seconds",
            "Duration of each stage of a decision: read, derive, commit, decide (all of them), pop.",
            ["stage"],
            buckets=_BUCKETS_S,
            registry=self.registry,
        )
        self._decisions = Counter(
            "firstring_decisions_total", "Decisions by cause and outcome.", ["cause", "outcome"], registry=self.registry
        )
        self._failed_open = Counter(
            "firstring_failed_open_total",
            "Contacts sent to the default queue because something failed, by error code.",
            ["code"],
            registry=self.registry,
        )
        self._requests = Histogram(
            "firstring_http_seconds",
            "Duration of HTTP requests by route and status class.",
            ["route", "status"],
            buckets=_BUCKETS_S,
            registry=self.registry,
        )
        self._events = Counter("firstring_events_total", "Events taken in, by result.", ["result"], registry=self.registry)
        self._events_rejected = Counter(
            "firstring_events_rejected_total", "Events refused, by error code.", ["code"], registry=self.registry
        )
        self._words_read = Counter(
            "firstring_words_read_total",
            "Texts in events that were read, by language.",
            ["language"],
            registry=self.registry,
        )
        self._events_limited = Counter(
            "firstring_events_limited_total",
            "Requests with events that were told to come later, by what was used up: client, key, lookups.",
            ["by"],
            registry=self.registry,
        )
        self._drift = Gauge(
            "firstring_drift",
            "Drift of the model in force as the elected process found it last: 0 steady, 1 watch, 2 alarm.",
            ["tenant"],
            registry=self.registry,
        )
        self._drift_measures = Gauge(
            "firstring_drift_measures", "Measures of drift over their bound.", ["tenant"], registry=self.registry
        )
        self._patterns_fired = Counter(
            "firstring_patterns_fired_total",
            "Patterns that came true just now, by pattern and valence.",
            ["pattern", "valence"],
            registry=self.registry,
        )
        self._patterns_behind = Gauge(
            "firstring_patterns_behind",
            "1 while states of patterns wait to be made anew from the event log.",
            ["tenant"],
            registry=self.registry,
        )
        self._routing_policy_refused = Gauge(
            "firstring_routing_policy_refused",
            "1 while routing.toml has a mistake, and the policy that was read before is in force.",
            registry=self.registry,
        )
        self._segment_errors = Counter(
            "firstring_segment_errors_total",
            "Persons for whom the condition of a segment came to an error, which counts as not being in it, by segment.",
            ["segment"],
            registry=self.registry,
        )
        self.desks = Gauge("firstring_desks", "Desks that listen for pops.", registry=self.registry)
        self.adapters = Gauge(
            "firstring_adapter_connected", "1 while the voice adapter is connected.", ["adapter"], registry=self.registry
        )

    def observe(self, stage: str, duration_ms: float) -> None:
        """Stages of decide.Decider."""
        self._stage.labels(stage).observe(duration_ms / 1000.0)

    def decided(self, cause: str, outcome: str) -> None:
        self._decisions.labels(cause, outcome).inc()

    def failed_open(self, code: str) -> None:
        self._failed_open.labels(code).inc()

    def request(self, route: str, status: int, duration_s: float) -> None:
        self._requests.labels(route, f"{status // 100}xx").observe(duration_s)

    def events(self, result: str, count: int) -> None:
        if count:
            self._events.labels(result).inc(count)

    def event_rejected(self, code: str) -> None:
        self._events_rejected.labels(code).inc()

    def words_read(self, language: str) -> None:
        self._words_read.labels(language).inc()

    def events_limited(self, by: str) -> None:
        """by: client, key or lookups."""
        self._events_limited.labels(by).inc()

    def pattern_fired(self, pattern: str, valence: str) -> None:
        self._patterns_fired.labels(pattern, valence).inc()

    def patterns_behind(self, tenant: str, *, behind: bool) -> None:
        self._patterns_behind.labels(tenant).set(1 if behind else 0)

    def routing_policy_refused(self, refused: bool) -> None:
        self._routing_policy_refused.set(1 if refused else 0)

    def segment_failed(self, segment: str) -> None:
        self._segment_errors.labels(segment).inc()

    def drift(self, tenant: str, state: int, measures: int) -> None:
        """state: 0 steady, 1 watch, 2 alarm; measures: how many are over their bound."""
        self._drift.labels(tenant).set(state)
        self._drift_measures.labels(tenant).set(measures)

    def text(self) -> bytes:
        """Prometheus' text format."""
        return generate_latest(self.registry)


_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,79}")
"""A code or the name of a type; never a sentence, never a number that somebody can be called by."""
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9]{1,9}")
_PLACE = re.compile(r"[A-Za-z0-9_.:/\[\] <{}-]{0,400}")
_ALLOWED = {
    "event": _PLAIN,
    "level": _PLAIN,
    "logger": _PLAIN,
    "code": _PLAIN,
    "why": _PLAIN,
    "error": _PLAIN,
    "adapter": _PLAIN,
    "stage": _PLAIN,
    "signal": _PLAIN,
    "contact": _ID,
    "tenant": _ID,
    "timestamp": _PLACE,
    "exception": _PLACE,
    "address": _PLACE,
    "route": _PLACE,
    "version": _PLACE,
    "file": _PLACE,
    "field": _PLACE,
}
"""Fields that may hold text, and what text. Numbers are allowed in these alone."""
_NUMBERS = frozenset(["status", "duration_ms", "count", "bytes", "port", "pid", "tenant", "line"])
_HIDDEN = "(not logged)"


def only_known_fields(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Logs carry no personal data: a field that is not on the lists, or not of their form, loses its value."""
    return {name: value if _may_be_logged(name, value) else _HIDDEN for name, value in fields.items()}


def _may_be_logged(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return True
    if isinstance(value, int | float):
        return name in _NUMBERS
    form = _ALLOWED.get(name)
    return form is not None and isinstance(value, str | uuid.UUID) and form.fullmatch(str(value)) is not None


def exception_without_values(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """An exception is logged by type and place: its message may hold what a customer said."""
    info = fields.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    error = info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        fields["exception"] = _place(error)
    return fields


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    places = []
    while trace is not None:
        code = trace.tb_frame.f_code
        places.append(f"{code.co_filename.rpartition('/')[2]}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return f"{type(error).__name__} at " + " < ".join(reversed(places[-6:]))


class _Libraries(logging.Handler):
    """What libraries log, by logger, level and place: their messages may quote what they were given."""

    def emit(self, record: logging.LogRecord) -> None:
        level = "error" if record.levelno >= logging.ERROR else "warning"
        fields: dict[str, Any] = {"logger": record.name, "line": record.lineno}
        if record.exc_info:
            fields["exc_info"] = record.exc_info
        structlog.get_logger().log(logging.getLevelNamesMapping()[level.upper()], "library", **fields)


def configure_logs(level: str, stream: TextIO | None = None) -> None:
    """JSON lines on standard error. Libraries' own logs pass at WARNING and above, by logger, level and place only."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            exception_without_values,
            only_known_fields,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(stream or sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.captureWarnings(True)
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _Libraries)]:
        root.removeHandler(handler)
    root.addHandler(_Libraries(level=logging.WARNING))
    root.setLevel(logging.WARNING)
