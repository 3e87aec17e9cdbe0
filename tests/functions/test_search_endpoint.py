"""Search personalization: the blend, the variants, unknown titles, and the client that a search service uses."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from function_client import SECRET, Function, serving
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.serving import make_server

from core.api.routes import RECOMMEND_ROUTES
from core.config import SearchClientSettings, read_search_client_settings
from core.errors import ConfigurationError
from core.flows.personalize_search import Result, blend, weight_of
from core.flows.services import Services
from core.local.tokens import sign_local_token
from core.search_client import MOST_PER_USER, SearchPersonalizer, SearchResult
from core.snapshot.snapshot import Snapshot

PATH = "/api/v1/search/personalize"
FOUND = [{"content_id": f"title-{number:02d}", "score": 1.0 - number / 50} for number in range(12)]


# Behavioural cases 82 and 83.


@pytest.mark.parametrize(("relevance", "personal", "weight", "final"), [(0.5, 0.9, 0.25, 0.6), (0.5, 0.8, 0.25, 0.575)])
def test_the_blend_is_the_specifications(relevance: float, personal: float, weight: float, final: float) -> None:
    [found] = blend([Result("a", relevance)], {"a": personal}, weight)
    assert found.score == pytest.approx(final)


def test_a_lift_that_is_not_enough_changes_no_order() -> None:
    found = blend([Result("b", 0.7), Result("a", 0.5)], {"a": 0.95, "b": 0.7}, 0.3)
    assert [(one.content_id, round(one.score, 3)) for one in found] == [("b", 0.7), ("a", 0.635)]


@pytest.mark.parametrize(
    ("variant", "weight"),
    [
        ("control", 0),
        ("low", 0.15),
        ("medium", 0.25),
        ("high", 0.4),
        ("aggressive", 0.6),
        ("other", 0.25),
        (None, 0.25),
    ],
)
def test_variants_have_the_specifications_weights(variant: str | None, weight: float) -> None:
    assert weight_of(variant) == weight


results = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.floats(0, 1)), unique_by=lambda pair: pair[0])


@given(results, st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0, 1)), st.floats(0, 1))
def test_the_same_results_come_back_in_order_and_in_range(found: Any, personal: Any, weight: float) -> None:
    blended = blend([Result(*pair) for pair in found], personal, weight)
    assert sorted(one.content_id for one in blended) == sorted(name for name, _ in found)
    assert [one.score for one in blended] == sorted((one.score for one in blended), reverse=True)
    assert all(0 <= one.score <= 1 + 1e-12 for one in blended)
    if not personal.keys() & {name for name, _ in found}:
        assert {one.content_id: one.score for one in blended} == dict(found)


def test_unknown_titles_keep_their_place_among_equals() -> None:
    blended = blend([Result("known", 0.8), Result("new", 0.8)], {"known": 0.1}, 0.5)
    assert blended[0].score == blended[1].score


# The endpoint.


def test_results_lean_towards_what_the_user_likes(recommend: Function, push: Callable[..., Any], user: str) -> None:
    push(user, *({"content_id": f"title-{n:02d}", "type": "like"} for n in (15, 20, 25)))
    body = {"results": [{"content_id": name, "score": 0.5} for name in ("title-01", "title-10", "title-30")]}
    found = recommend.ask(PATH, body | {"experiment_variant": "aggressive"}, user)
    assert (found["weight"], found["degraded"]) == (0.6, [])
    scores = recommend.ask("/api/v1/personalization/score", {"content_ids": ["title-01", "title-10", "title-30"]}, user)
    personal = {row["content_id"]: row["score"] for row in scores["scores"]}
    assert [row["content_id"] for row in found["results"]] == sorted(personal, key=lambda name: -personal[name])
    assert max(personal.values()) > min(personal.values())
    for row in found["results"]:
        assert row["personal_score"] == pytest.approx(personal[row["content_id"]], abs=1e-4)
        assert row["score"] == pytest.approx(0.5 * 0.4 + 0.6 * row["personal_score"], abs=1e-5)


def test_the_control_variant_changes_nothing(recommend: Function, user: str) -> None:
    found = recommend.ask(PATH, {"results": FOUND, "experiment_variant": "control"}, user)
    assert [(row["content_id"], row["score"]) for row in found["results"]] == [
        (row["content_id"], pytest.approx(row["score"])) for row in FOUND
    ]
    assert all(row["personal_score"] is None for row in found["results"])


class Swapping:
    """Snapshots of which each is gone as soon as it has been handed out."""

    failure = None

    def __init__(self, services: Services) -> None:
        self._left = [services.snapshots.current(time.time())]

    def current(self, now: float) -> Snapshot:
        return self._left.pop()


def test_a_new_snapshot_in_the_middle_of_a_search_is_for_the_next_one(
    deployment: Services, recommend: Function, user: str
) -> None:
    body = {"results": FOUND, "experiment_variant": "high"}
    swapping = serving(RECOMMEND_ROUTES, replace(deployment, snapshots=Swapping(deployment)))  # type: ignore[arg-type]
    assert swapping.ask(PATH, body, user) == recommend.ask(PATH, body, user)


def test_titles_that_are_not_in_the_catalogue_are_no_error(recommend: Function, user: str) -> None:
    body = {"results": [{"content_id": "brand new", "relevance_score": 0.9}, *FOUND[:3]]}
    found = {row["content_id"]: row for row in recommend.ask(PATH, body, user)["results"]}
    assert found["brand new"]["personal_score"] is None
    only = recommend.ask(PATH, {"results": [{"content_id": "brand new", "score": 0.9}]}, user)
    assert only["results"][0]["score"] == 0.9
    assert recommend.ask(PATH, {"results": []}, user)["results"] == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"results": [{"content_id": "a"}]},
        {"results": [{"content_id": "a", "score": 1.5}]},
        {"results": [{"content_id": "", "score": 0.5}]},
        {"results": FOUND * 20},
        {"results": FOUND, "boost_weight": 2},
    ],
)
def test_an_impossible_search_is_refused(recommend: Function, user: str, body: dict[str, Any]) -> None:
    assert recommend.post(PATH, body, user).status_code == 422


def test_a_service_asks_for_others_and_nobody_else_does(recommend: Function, user: str) -> None:
    assert recommend.post(PATH, {"results": FOUND, "user_id": user}, "search", ("service",)).status_code == 200
    assert recommend.post(PATH, {"results": FOUND, "user_id": user}, "mallory").status_code == 403


def test_a_running_experiment_chooses_the_weight(
    function: Callable[[str], Function], deployment: Services, user: str
) -> None:
    from core.experiments.experiment import Experiment, Status, Variant
    from core.flows.experiment_memory import ExperimentMemory
    from core.flows.experiments import create_experiment, move_experiment

    name = f"search-{time.time_ns()}"
    own = replace(deployment, experiment_memory=ExperimentMemory(deployment.experiments, 0.0))
    variants = (Variant("all-out", 1.0, {"search_weight": 1.0}), Variant("also", 1.0, {"search_weight": 1.0}))
    create_experiment(own, Experiment(name, variants), time.time())
    move_experiment(own, name, Status.RUNNING, time.time())
    try:
        client = serving(RECOMMEND_ROUTES, own)
        found = client.ask(PATH, {"results": FOUND}, user)
        assert (found["weight"], set(found["experiments"])) == (1.0, {name})
        assert client.ask(PATH, {"results": FOUND, "experiment_variant": "low"}, user)["weight"] == 0.15
        assert name not in client.ask("/api/v1/recommendations", {"limit": 1}, user)["experiments"]
    finally:
        move_experiment(own, name, Status.COMPLETED, time.time())


# The client (behavioural cases 84 and 85).


class Server:
    """The recommend function behind a real socket, that counts its calls and may be slow or broken."""

    def __init__(self, function: Function) -> None:
        self.calls, self.delay_s, self.broken = 0, 0.0, False
        self._application = function.client.application
        self._http = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)
        self._thread.start()

    def _answer(self, environ: Any, start_response: Any) -> Any:
        self.calls += 1
        time.sleep(self.delay_s)
        if self.broken:
            start_response("200 OK", [("Content-Type", "application/json")])
            return [b"{"]
        return self._application(environ, start_response)

    def close(self) -> None:
        self._http.shutdown()
        self._thread.join()


@pytest.fixture
def server(recommend: Function) -> Iterator[Server]:
    server = Server(recommend)
    yield server
    server.close()


RESULTS = [SearchResult(row["content_id"], row["score"]) for row in FOUND]  # type: ignore[arg-type]


def personalizer(server: Server, **settings: Any) -> SearchPersonalizer:
    chosen = SearchClientSettings(sona_url=server.url, timeout_ms=5000.0)
    return SearchPersonalizer(
        replace(chosen, **settings), lambda: sign_local_token(SECRET, "search", ("service",)), lambda: server_time[0]
    )


server_time = [0.0]


@pytest.fixture(autouse=True)
def stopped_clock() -> None:
    server_time[0] = 0.0


def test_the_client_gives_what_the_function_answers_and_then_its_copy(server: Server, recommend: Function) -> None:
    client = personalizer(server)
    expected = recommend.ask(PATH, {"results": FOUND, "experiment_variant": "high"}, "cleo")["results"]
    for _ in range(2):
        found = client.personalize_results("cleo", RESULTS, "high")
        assert [(one.content_id, one.score) for one in found] == [(row["content_id"], row["score"]) for row in expected]
    assert server.calls == 1
    client.personalize_results("cleo", RESULTS, "low")
    client.personalize_results("cleo", RESULTS[:5], "high")
    client.personalize_results("dora", RESULTS, "high")
    assert server.calls == 4


def test_invalidating_and_time_empty_the_copies_of_one_user(server: Server) -> None:
    client = personalizer(server)
    for user in ("cleo", "dora"):
        client.personalize_results(user, RESULTS)
    client.invalidate_cache("cleo")
    client.personalize_results("dora", RESULTS)
    assert server.calls == 2
    client.personalize_results("cleo", RESULTS)
    assert server.calls == 3
    server_time[0] = 301.0
    client.personalize_results("dora", RESULTS)
    assert server.calls == 4


def test_an_answer_that_was_under_way_when_the_user_did_something_is_not_kept(server: Server) -> None:
    client, server.delay_s = personalizer(server), 0.2
    thread = threading.Thread(target=client.personalize_results, args=("cleo", RESULTS))
    thread.start()
    time.sleep(0.05)
    client.invalidate_cache("cleo")
    thread.join()
    client.personalize_results("cleo", RESULTS)
    assert server.calls == 2


def test_copies_are_bounded(server: Server) -> None:
    client = personalizer(server)
    for number in range(MOST_PER_USER + 5):
        client.personalize_results("cleo", [SearchResult("title-01", number / 100)])
    client.personalize_results("cleo", [SearchResult("title-01", 0.0)])
    assert server.calls == MOST_PER_USER + 6


def test_whatever_goes_wrong_the_results_stay_as_they_are(server: Server) -> None:
    server.delay_s = 1.0
    slow = personalizer(server, timeout_ms=50.0)
    started = time.monotonic()
    assert slow.personalize_results("cleo", RESULTS) == RESULTS
    assert time.monotonic() - started < 0.6
    server.delay_s, server.broken = 0.0, True
    assert personalizer(server).personalize_results("cleo", RESULTS) == RESULTS
    server.broken = False
    anonymous = SearchPersonalizer(SearchClientSettings(server.url, timeout_ms=5000.0), lambda: "no token")
    assert anonymous.personalize_results("cleo", RESULTS) == RESULTS
    away = SearchPersonalizer(SearchClientSettings("http://127.0.0.1:9", timeout_ms=5000.0), lambda: "")
    assert away.personalize_results("cleo", RESULTS) == RESULTS
    assert away.counts["fell_back"] == 1


def test_a_function_that_is_down_is_left_alone_for_a_while(server: Server) -> None:
    client, server.broken = personalizer(server), True
    for _ in range(9):
        client.personalize_results("cleo", RESULTS)
    assert server.calls == 5
    server_time[0], server.broken = 2.0, False
    assert client.personalize_results("cleo", RESULTS, "high") != RESULTS


def test_switched_off_nobody_is_asked(server: Server) -> None:
    assert personalizer(server, enabled=False).personalize_results("cleo", RESULTS) == RESULTS
    assert personalizer(server, sona_url="").personalize_results("cleo", RESULTS) == RESULTS
    assert server.calls == 0


def test_the_five_settings_have_the_specifications_names_and_defaults() -> None:
    assert read_search_client_settings({}) == SearchClientSettings("", 0.25, 50.0, 300.0, True)
    names = ("SONA_URL", "BOOST_WEIGHT", "TIMEOUT_MS", "CACHE_TTL_SEC", "ENABLED")
    environ = {
        f"DISCOVERY_PERSONALIZATION_{name}": value
        for name, value in zip(names, ("http://x", ".4", "80", "60", "false"), strict=True)
    }
    assert read_search_client_settings(environ) == SearchClientSettings("http://x", 0.4, 80.0, 60.0, False)
    with pytest.raises(ConfigurationError, match="DISCOVERY_PERSONALIZATION_TIMEOUT_MS"):
        read_search_client_settings({"DISCOVERY_PERSONALIZATION_TIMEOUT_MS": "soon"})
    with pytest.raises(ConfigurationError):
        SearchPersonalizer(SearchClientSettings("ftp://x"), lambda: "")
