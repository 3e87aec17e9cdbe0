"""The adapter service over HTTPS: what it answers, whom it refuses, and that nobody can train in a loop."""

import base64
import time
import uuid
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from adapting import DIMS, DRAMAS, append, generation, likes, snapshot_folder
from function_client import Function, serving

from core.adaptation import codec
from core.api.adapter_routes import ADAPTER_ROUTES
from core.flows.services import Services
from core.interaction import InteractionType
from core.snapshot.publish import activate, publish
from core.stores.gcs import GcsBucket, ensure_bucket
from core.stores.pubsub_admin import ensure_topic
from core.wiring import services_for

LOAD, ADAPT, UPDATE = "/api/v1/adapter/load", "/api/v1/adapter/adapt", "/api/v1/adapter/update"
STATS, ROLLBACK, TRAIN = "/api/v1/adapter/stats", "/api/v1/adapter/rollback", "/api/v1/lora/train"


@pytest.fixture(scope="module")
def services(deployment: Services, tmp_path_factory: pytest.TempPathFactory) -> Services:
    """The instance's services on a snapshot with a base generation."""
    name = f"adapters-{uuid.uuid4().hex}"
    settings = deployment.settings
    stores = replace(settings.stores, snapshots_bucket=name)
    built = services_for(
        replace(settings, stores=stores, cache_dir=str(tmp_path_factory.mktemp("cache"))),
    )
    ensure_bucket(stores)
    folder = snapshot_folder(tmp_path_factory.mktemp("snapshots"), generation(), time.time())
    activate(GcsBucket(stores), publish(folder, GcsBucket(stores)))
    return built


@pytest.fixture(scope="module")
def adapters(services: Services) -> Function:
    return serving(ADAPTER_ROUTES, services)


@pytest.fixture
def trained(adapters: Function, services: Services, user: str) -> str:
    append(services.log, user, likes(user, DRAMAS[:25]))
    assert adapters.ask(TRAIN, {}, user)["status"] == "training_completed"
    return user


def test_a_user_without_an_adapter_is_a_cold_start(adapters: Function, user: str) -> None:
    nothing = {"adapter_weights": None, "interaction_count": 0, "last_updated": None, "is_new": False}
    assert adapters.ask(LOAD, {"user_id": user}, user) == nothing
    assert adapters.ask(ADAPT, {"base_embeddings": [1.0] * DIMS}, user)["adaptation_magnitude"] == 0.0
    assert adapters.ask(STATS, {}, user)["adapter_version"] == 0


def test_loading_creates_an_adapter_once(adapters: Function, user: str) -> None:
    created = adapters.ask(LOAD, {"create_if_missing": True}, user)
    assert created["is_new"] is True
    assert adapters.ask(LOAD, {"create_if_missing": True}, user) == {**created, "is_new": False}


def test_training_makes_an_adapter_that_loads_as_its_bytes(adapters: Function, trained: str) -> None:
    loaded = adapters.ask(LOAD, {}, trained)
    weights = base64.b64decode(loaded["adapter_weights"])
    assert len(weights) < 10_240
    assert codec.decode(weights).slow.shape == (DIMS, 8)
    assert (loaded["interaction_count"], loaded["is_new"]) == (25, False)
    assert loaded["last_updated"].endswith("Z")


def test_embeddings_come_back_adapted_in_the_form_they_came_in(adapters: Function, trained: str) -> None:
    rows = np.eye(3, DIMS)
    by_rows = adapters.ask(ADAPT, {"base_embeddings": rows.tolist()}, trained)
    flat = adapters.ask(ADAPT, {"base_embeddings": rows.ravel().tolist()}, trained)
    adapted = np.array(by_rows["adapted_embeddings"])
    assert adapted.shape == (3, DIMS)
    assert flat["adapted_embeddings"] == adapted.ravel().tolist()
    expected = np.linalg.norm(adapted - rows, axis=1).mean()
    assert by_rows["adaptation_magnitude"] == pytest.approx(expected, abs=1e-5)
    assert expected > 0.01
    assert by_rows["degraded"] == []


@pytest.mark.parametrize(
    "embeddings",
    [
        [],
        [1.0] * (DIMS + 1),
        [[1.0] * (DIMS - 1)],
        [[1.0] * DIMS, [1.0]],
        [[]],
        ["1"],
        1.0,
        [1e300] * DIMS,
        [[None] * DIMS],
    ],
)
def test_embeddings_that_are_no_vectors_of_the_space_are_refused(
    adapters: Function, user: str, embeddings: object
) -> None:
    answer = adapters.post(ADAPT, {"base_embeddings": embeddings}, user)
    assert answer.status_code == 422
    assert answer.get_json()["error"] == "invalid_input"


def test_not_a_number_is_no_embedding(adapters: Function, user: str) -> None:
    numbers = ", ".join(["1.0"] * (DIMS - 1) + ["NaN"])
    assert adapters.post(ADAPT, f'{{"base_embeddings": [{numbers}]}}'.encode(), user).status_code == 400


def test_too_few_events_are_named_with_their_number(adapters: Function, services: Services, user: str) -> None:
    append(services.log, user, likes(user, DRAMAS[:9]))
    answer = adapters.post(TRAIN, {"force": True}, user)
    assert answer.status_code == 400
    body = answer.get_json()
    assert (body["error"], body["details"]) == ("not_enough_events", {"current_count": 9})


def test_impressions_are_no_events_to_train_on(adapters: Function, services: Services, user: str) -> None:
    shown = [replace(each, type=InteractionType.IMPRESSION) for each in likes(user, DRAMAS[:12])]
    append(services.log, user, shown)
    assert adapters.post(TRAIN, {}, user).get_json()["details"] == {"current_count": 0}


def test_nobody_trains_in_a_loop_but_a_service_may(adapters: Function, trained: str) -> None:
    for body in ({}, {"force": True}, {"user_id": trained}):
        again = adapters.post(TRAIN, body, trained)
        assert again.status_code == 429
        assert 3500 < int(again.headers["Retry-After"]) <= 3601
    by_service = adapters.post(TRAIN, {"user_id": trained, "force": True}, "batch", roles=("service",))
    assert by_service.status_code == 200
    assert by_service.get_json()["training_iterations"] == 5


def test_training_says_what_it_did(adapters: Function, services: Services, user: str) -> None:
    append(services.log, user, likes(user, DRAMAS[:25]))
    done = adapters.ask(TRAIN, {"user_id": user, "force": False}, user)
    assert set(done) == {"status", "duration_ms", "training_iterations", "events_used"}
    assert (done["training_iterations"], done["events_used"]) == (5, 25)
    assert done["duration_ms"] > 0


def test_stats_hold_the_measurements_of_every_training(adapters: Function, trained: str) -> None:
    stats = adapters.ask(STATS, {}, trained)
    assert (stats["adapter_version"], stats["versions"], stats["generation"]) == (1, [1], "g1")
    assert (stats["interaction_count"], stats["folded_upto_seq"], stats["pending_events"]) == (25, 25, 0)
    assert stats["hot_bytes"] < stats["cold_bytes"]
    [adaptation] = stats["adaptations"]
    assert (adaptation["verdict"], adaptation["from_seq"], adaptation["upto_seq"]) == ("accepted", 0, 25)
    assert adaptation["metrics"]["held_back_after"] < adaptation["metrics"]["held_back_before"]


def test_a_version_is_taken_back_and_an_unknown_one_is_not_found(
    adapters: Function, user: str, services: Services
) -> None:
    assert adapters.post(ROLLBACK, {}, user).status_code == 404
    created = adapters.ask(LOAD, {"create_if_missing": True}, user)
    assert adapters.post(ROLLBACK, {}, user).status_code == 404
    append(services.log, user, likes(user, DRAMAS[:25]))
    assert adapters.ask(TRAIN, {}, user)["status"] == "training_completed"
    assert adapters.post(ROLLBACK, {"version": 7}, user).status_code == 404
    done = adapters.ask(ROLLBACK, {"version": 1}, user)
    assert (done["status"], done["adapter_version"]) == ("rolled_back", 3)
    now = codec.decode(base64.b64decode(adapters.ask(LOAD, {}, user)["adapter_weights"]))
    assert not now.slow.any()
    assert codec.decode(base64.b64decode(created["adapter_weights"])).slow.shape == now.slow.shape


@pytest.mark.parametrize(
    ("interaction", "expected"),
    [
        ({"type": "RATING", "signal_strength": 1.0}, {"type": "rating_explicit", "rating": 5.0}),
        ({"type": "rating", "signal_strength": -0.5}, {"type": "rating_explicit", "rating": 2.0}),
        ({"type": "rating", "rating": 4.0, "signal_strength": -1}, {"type": "rating_explicit", "rating": 4.0}),
        ({"type": "PROGRESS", "signal_strength": 0.5}, {"type": "watch_progress", "progress": 0.5}),
        ({"type": "SKIP", "context": {"device_type": "tv"}}, {"type": "skip_content", "device": "tv"}),
        ({"type": "like", "signal_strength": 0.1}, {"type": "like"}),
    ],
)
def test_an_update_is_an_event_like_any_other(
    adapters: Function, services: Services, user: str, interaction: dict, expected: dict
) -> None:
    from core.api.adapter_schemas import TaughtFields
    from core.interaction import to_record

    fields = {"content_id": DRAMAS[0], "event_id": "e1", **interaction}
    record = to_record(TaughtFields.model_validate(fields).event(user, time.time(), time.time()))
    assert {name: record.get(name) for name in expected} == expected
    answer = adapters.post(UPDATE, {"interaction": fields}, user)
    assert answer.status_code == 202
    assert answer.get_json() == {"status": "accepted", "event_id": "e1"}


@pytest.mark.parametrize(
    "interaction",
    [{}, {"type": "rating"}, {"type": "like", "signal_strength": 1.5}, {"type": "dance"}, {"type": "like", "x": 1}],
)
def test_an_update_that_is_no_event_is_refused(adapters: Function, user: str, interaction: dict) -> None:
    body = {"interaction": {"content_id": DRAMAS[0], **interaction}}
    assert adapters.post(UPDATE, body, user).status_code == 422


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (LOAD, {}),
        (ADAPT, {"base_embeddings": [1.0] * DIMS}),
        (UPDATE, {"interaction": {"content_id": DRAMAS[0], "type": "like"}}),
        (STATS, {}),
        (ROLLBACK, {}),
        (TRAIN, {}),
    ],
)
def test_nobody_reaches_into_somebody_elses_adapter(adapters: Function, user: str, path: str, body: dict) -> None:
    assert adapters.post(path, {**body, "user_id": "somebody else"}, user).status_code == 403
    assert adapters.post(path, body, None).status_code == 401
    assert adapters.post(path, {**body, "unknown": 1}, user).status_code == 422


def test_before_the_first_generation_callers_are_told_when_to_come_again(deployment: Services, user: str) -> None:
    without = serving(ADAPTER_ROUTES, deployment)
    append(deployment.log, user, likes(user, DRAMAS[:12]))
    for path, body in ((ADAPT, {"base_embeddings": [1.0]}), (LOAD, {"create_if_missing": True}), (TRAIN, {})):
        answer = without.post(path, body, user)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "60")
    assert without.ask(LOAD, {}, user)["adapter_weights"] is None


def test_the_deployed_function_answers(function: Callable[[str], Function], user: str, services: Services) -> None:
    ensure_topic(services.settings.stores, services.settings.stores.interactions_topic)
    adapters = function("adapters")
    health = adapters.client.get("/health").get_json()
    assert (health["service"], health["status"]) == ("adapters", "ok")
    assert adapters.ask(STATS, {}, user)["user_id"] == user
