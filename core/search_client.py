"""For search services: results bent towards what a user likes, within a time budget, and unchanged when that fails.

    personalizer = SearchPersonalizer(read_search_client_settings(), token=lambda: service_token)
    results = personalizer.personalize_results("ann", [SearchResult("title-1", 0.9), SearchResult("title-2", 0.8)])

Nothing here raises for what happens on the way: a search must not fail because it could not be personalized.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from core.config import SearchClientSettings
from core.errors import ConfigurationError

PATH = "/api/v1/search/personalize"
THREADS = 8  # calls under way at once; a call that finds none free waits within its budget
MOST_USERS, MOST_PER_USER = 10_000, 16  # answers kept, the least recently used go first
FAILURES, REST_S = 5, 1.0  # after so many in a row nobody is asked for so long


@dataclass(frozen=True, slots=True)
class SearchResult:
    """One result; `score` in [0, 1], the larger the better."""

    content_id: str
    score: float


_Key = tuple[str | None, tuple[tuple[str, float], ...]]


@dataclass(slots=True)
class _Kept:
    """One user's answers: what was asked -> (until when, the answer)."""

    answers: OrderedDict[_Key, tuple[float, list[SearchResult]]] = field(default_factory=OrderedDict)


class SearchPersonalizer:
    """Safe to share between threads. `token`: gives a bearer token with the service role, at every call."""

    def __init__(
        self, settings: SearchClientSettings, token: Callable[[], str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        url = urlsplit(settings.sona_url)
        if settings.enabled and settings.sona_url and url.scheme not in ("http", "https"):
            raise ConfigurationError("DISCOVERY_PERSONALIZATION_SONA_URL must be an http or https address")
        self._settings, self._url, self._token, self._clock = settings, url, token, clock
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="personalize")
        self._connections = threading.local()
        self._users: OrderedDict[str, _Kept] = OrderedDict()
        self._lock = threading.Lock()
        self._failed, self._rest_until = 0, -1.0
        self.counts: Counter[str] = Counter()  # asked, cached, fell_back

    def personalize_results(
        self, user_id: str, results: Sequence[SearchResult], experiment_variant: str | None = None
    ) -> list[SearchResult]:
        """The results in the user's order with their new scores; as given when anything is wrong or takes too long.

        experiment_variant: control, low, medium, high or aggressive; None leaves it to SONA's running experiments.
        """
        if not (self._settings.enabled and self._settings.sona_url and results):
            return list(results)
        key = (experiment_variant, tuple((result.content_id, result.score) for result in results))
        kept, found = self._look_up(user_id, key)
        if found is not None:
            self.counts["cached"] += 1
            return list(found)
        answer = self._within_budget(user_id, results, experiment_variant)
        if answer is None:
            self.counts["fell_back"] += 1
            return list(results)
        self._keep(user_id, kept, key, answer)
        return list(answer)

    def invalidate_cache(self, user_id: str) -> None:
        """Forget the user's answers, also those under way: call it when the user has done something new."""
        with self._lock:
            self._users.pop(user_id, None)

    def close(self) -> None:
        """Take no more calls; those under way are not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _look_up(self, user_id: str, key: _Key) -> tuple[_Kept, list[SearchResult] | None]:
        with self._lock:
            kept = self._users.setdefault(user_id, _Kept())
            self._users.move_to_end(user_id)
            while len(self._users) > MOST_USERS:
                self._users.popitem(last=False)
            until, answer = kept.answers.get(key, (-1.0, []))
            return kept, (answer if self._clock() < until else None)

    def _keep(self, user_id: str, kept: _Kept, key: _Key, answer: list[SearchResult]) -> None:
        with self._lock:
            if self._users.get(user_id) is not kept:
                return  # invalidated meanwhile
            kept.answers[key] = (self._clock() + self._settings.cache_ttl_sec, answer)
            kept.answers.move_to_end(key)
            while len(kept.answers) > MOST_PER_USER:
                kept.answers.popitem(last=False)

    def _within_budget(
        self, user_id: str, results: Sequence[SearchResult], variant: str | None
    ) -> list[SearchResult] | None:
        if self._clock() < self._rest_until:
            return None
        self.counts["asked"] += 1
        call: Future[list[SearchResult]] = self._threads.submit(self._ask, user_id, results, variant)
        try:
            answer = call.result(self._settings.timeout_ms / 1000.0)
        except (Late, OSError, http.client.HTTPException, ValueError, LookupError, TypeError):
            call.cancel()
            self._failed += 1
            if self._failed >= FAILURES:
                self._rest_until = self._clock() + REST_S
            return None
        self._failed = 0
        return answer

    def _ask(self, user_id: str, results: Sequence[SearchResult], variant: str | None) -> list[SearchResult]:
        body: dict[str, Any] = {
            "user_id": user_id,
            "results": [{"content_id": result.content_id, "score": result.score} for result in results],
            "boost_weight": self._settings.boost_weight,
        }
        if variant is not None:
            body["experiment_variant"] = variant
        answer = [SearchResult(row["content_id"], float(row["score"])) for row in self._post(body)["results"]]
        if sorted(row.content_id for row in answer) != sorted(result.content_id for result in results):
            raise ValueError("not the results that were asked about")
        return answer

    def _post(self, body: dict[str, Any]) -> Any:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._token()}"}
        data = json.dumps(body, allow_nan=False)
        connection = self._connection()
        try:
            connection.request("POST", self._url.path.rstrip("/") + PATH, data, headers)
            response = connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException):
            connection.close()  # the next call opens a new one
            raise
        if response.status != 200:
            raise ValueError(f"status {response.status}")
        return json.loads(text)

    def _connection(self) -> http.client.HTTPConnection:
        """This thread's, kept open."""
        kept: http.client.HTTPConnection | None = getattr(self._connections, "kept", None)
        if kept is None:
            kind = http.client.HTTPSConnection if self._url.scheme == "https" else http.client.HTTPConnection
            timeout_s = self._settings.timeout_ms / 1000.0
            kept = kind(self._url.hostname or "", self._url.port, timeout=timeout_s)
            self._connections.kept = kept
        return kept
