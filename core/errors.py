"""Errors, named by what the caller should do about them.

Anything that is not one of these is a bug: it propagates, is logged with its traceback, and a message is redelivered.
"""


class SonaError(Exception):
    """Base of every error that SONA raises on purpose."""


class InvalidInput(SonaError, ValueError):
    """The input can never work: correct it. HTTP 400 or 422; a message is rejected and acknowledged."""


class NotFound(SonaError, LookupError):
    """The named thing does not exist (an unknown user is not an error: a cold start). HTTP 404."""


class Unauthenticated(SonaError):
    """No valid proof of who is calling. HTTP 401."""


class Forbidden(SonaError):
    """The caller is known and may not do this. HTTP 403."""


class Conflict(SonaError):
    """Somebody else changed it first: read again, then retry. HTTP 409."""


class StoreUnavailable(SonaError):
    """A store, broker or bucket did not answer: retry later. HTTP 503; a message is redelivered."""

    def __init__(self, store: str, reason: object = "", retry_after_s: int = 1) -> None:
        super().__init__(f"{store} is unavailable: {reason}" if reason else f"{store} is unavailable")
        self.store = store
        self.retry_after_s = retry_after_s


class StoreSilent(StoreUnavailable):
    """It was asked and said nothing until the time was up: asking again would cost as much again."""


class Declined(StoreUnavailable):
    """It answers, and could not do this one thing: a row is held by somebody else, a topic or a right is missing."""


class CorruptData(SonaError, ValueError):
    """Stored bytes failed their magic, version, size or checksum. Never retried: read another copy or rebuild it."""


class TooLarge(SonaError):
    """It does not fit where it must: make it smaller, or the place larger. Never retried."""


class ConfigurationError(SonaError, ValueError):
    """A setting is missing or impossible; the message names it."""
