"""Logs as Cloud Logging reads them: one JSON object a line on stdout, with `severity`, `time` and `message`.

What is logged never identifies a user: no user ids, no vectors, no tokens. Counters are fields of the events.
"""

from __future__ import annotations

import logging
from typing import Any

import structlog

_SEVERITY = {"warn": "WARNING", "exception": "ERROR"}  # structlog's method names that are no severities


def _severity(logger: Any, method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    event["severity"] = _SEVERITY.get(method, method.upper())
    return event


def configure(level: str = "INFO") -> None:
    """Send every log event of this process to stdout. `level`: DEBUG, INFO, WARNING, ERROR."""
    structlog.configure(
        processors=[
            _severity,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(),  # no file: the stdout of the moment
    )


def logger(component: str) -> structlog.typing.FilteringBoundLogger:
    """A logger that names its component; nothing is bound before the first event, so configuring later is fine."""
    bound: structlog.typing.FilteringBoundLogger = structlog.get_logger(component=component)
    return bound
