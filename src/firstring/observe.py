"""What the operators see: metrics (Prometheus) and structured logs without personal data."""

from __future__ import annotations

import logging
import sys
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

    def text(self) -> bytes:
        """Prometheus' text format."""
        return generate_latest(self.registry)


_ALLOWED = frozenset(
    [
        "event",
        "level",
        "timestamp",
        "logger",
        "exception",
        "code",
        "why",
        "error",
        "adapter",
        "status",
        "route",
        "duration_ms",
        "tenant",
        "contact",
        "stage",
        "count",
        "address",
        "port",
        "version",
        "pid",
        "signal",
        "path",
    ]
)


def only_known_fields(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Logs carry no personal data: fields that are not on the list lose their value."""
    return {name: value if name in _ALLOWED else "(not logged)" for name, value in fields.items()}


def exception_without_values(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """An exception is logged by type and place: its message may hold what a customer said."""
    info = fields.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    error = info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        trace = error.__traceback__
        places = []
        while trace is not None:
            code = trace.tb_frame.f_code
            places.append(f"{code.co_filename.rpartition('/')[2]}:{trace.tb_lineno} {code.co_name}")
            trace = trace.tb_next
        fields["exception"] = f"{type(error).__name__} at " + " < ".join(reversed(places[-6:]))
    return fields


def configure_logs(level: str, stream: TextIO | None = None) -> None:
    """JSON lines on standard error. Libraries' own logs pass at WARNING and above, by logger and level only."""
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
