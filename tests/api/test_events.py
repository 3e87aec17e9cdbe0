"""What Pub/Sub delivers: every form is understood, and one bad event costs no good one."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.api.events import message_in, open_delivery
from core.errors import InvalidInput
from core.flows.ingest import Message
from core.interaction import Interaction, InteractionType, Onboarding

NOW = 1_760_000_000.0
LIKE = {"event_id": "e1", "content_id": "heat-1995", "type": "like", "occurred_at": NOW - 5}


def envelope(data: bytes | None, **message: Any) -> dict[str, Any]:
    encoded = {} if data is None else {"data": base64.b64encode(data).decode()}
    return {
        "message": {"messageId": "m1", "publishTime": "2025-10-09T08:53:10.123Z", "orderingKey": "ann"}
        | encoded
        | message,
        "subscription": "projects/p/subscriptions/s",
        "deliveryAttempt": 2,
    }


def parse_message(body: bytes, now: float) -> Message:
    return message_in(open_delivery(body, now), now)


def parse(content: Any) -> Any:
    return parse_message(json.dumps(envelope(json.dumps(content).encode())).encode(), NOW)


def test_a_push_envelope_holds_a_users_events_in_order() -> None:
    message = parse({"user_id": "ann", "events": [LIKE, LIKE | {"event_id": "e2", "type": "SKIP"}]})
    assert (message.message_id, message.user_id, message.rejected) == ("m1", "ann", ())
    assert message.events == (
        Interaction("e1", "ann", "heat-1995", InteractionType.LIKE, NOW - 5),
        Interaction("e2", "ann", "heat-1995", InteractionType.SKIP_CONTENT, NOW - 5),
    )


def test_all_forms_of_a_delivery_mean_the_same() -> None:
    pushed = envelope(json.dumps({"user_id": "ann", "events": [LIKE]}).encode())
    structured = {
        "specversion": "1.0",
        "type": "google.cloud.pubsub.topic.v1.messagePublished",
        "source": "//pubsub.googleapis.com/projects/p/topics/interactions",
        "id": "m1",
        "data": pushed,
    }
    legacy = {"message": {"message_id": "m1"} | {"data": pushed["message"]["data"]}, "subscription": "s"}
    forms = [parse_message(json.dumps(form).encode(), NOW) for form in (pushed, structured, legacy)]
    assert forms[0] == forms[1] == forms[2]
    assert len(forms[0].events) == 1


def test_a_bare_event_is_a_batch_of_one() -> None:
    assert parse(LIKE | {"user_id": "ann"}) == parse({"user_id": "ann", "events": [LIKE]})


def test_an_onboarding_is_an_event_too() -> None:
    (event,) = parse(
        {"user_id": "ann", "type": "onboarding", "event_id": "o", "genres": ["Drama"], "region": "DE"}
    ).events
    assert event == Onboarding("o", "ann", event.occurred_at, ("drama",), region="DE")


def test_a_redelivery_gives_events_without_id_or_time_the_same_ones() -> None:
    bare = {"content_id": "heat-1995", "type": "like"}
    first, again = (parse({"user_id": "ann", "events": [bare, bare]}) for _ in range(2))
    assert first == again
    assert [event.event_id for event in first.events] == ["m1:0", "m1:1"]
    assert first.events[0].occurred_at == pytest.approx(1_759_999_990.123)


def test_a_bad_event_is_named_and_costs_no_good_one() -> None:
    bad = [{"type": "like"}, LIKE | {"type": "teleport"}, 7, LIKE | {"occurred_at": NOW * 2}, LIKE | {"user_id": "bob"}]
    message = parse({"user_id": "ann", "events": [LIKE, *bad, LIKE | {"event_id": "e2", "user_id": "ann"}]})
    assert [event.event_id for event in message.events] == ["e1", "e2"]
    assert [json.loads(item.payload) for item in message.rejected] == bad
    reasons = [item.reason for item in message.rejected]
    assert reasons[0] == "content_id: Field required"
    assert "one day from now" in reasons[3]
    assert "another user" in reasons[4]


def test_a_number_that_is_none_costs_only_its_own_event() -> None:
    data = b'{"user_id": "ann", "events": [{"content_id": "a", "type": "like", "progress": NaN}, %s]}'
    message = parse_message(json.dumps(envelope(data % json.dumps(LIKE).encode())).encode(), NOW)
    assert [event.event_id for event in message.events] == ["e1"]
    assert "finite" in message.rejected[0].reason


def test_fields_of_a_newer_publisher_are_ignored() -> None:
    assert len(parse({"user_id": "ann", "schema": 2, "events": [LIKE | {"hologram": True}]}).events) == 1


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"not json", "data is not JSON"),
        (b"\xff\xfe", "data is not JSON"),
        (None, "data is not JSON"),
        (b"[]", "no user_id"),
        (b'{"events": []}', "no user_id"),
        (b'{"user_id": "", "events": []}', "no user_id"),
        (b'{"user_id": "a\\u0000b", "events": []}', "no user_id"),
        (b'{"user_id": 7, "content_id": "a", "type": "like"}', "no user_id"),
    ],
)
def test_a_poison_message_is_kept_whole_with_the_reason(data: bytes | None, reason: str) -> None:
    message = parse_message(json.dumps(envelope(data)).encode(), NOW)
    assert (message.events, len(message.rejected)) == ((), 1)
    assert message.rejected[0].reason == reason
    assert message.rejected[0].payload == (data or b"")
    assert message.user_id == "ann", "whose place in the order it took"


def test_data_that_is_not_base64_is_poison_too() -> None:
    delivery = envelope(None)
    delivery["message"]["data"] = "%%%"
    message = parse_message(json.dumps(delivery).encode(), NOW)
    assert message.rejected[0].reason == "data is not base64"


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b'"x"', b'{"message": 5}', b'{"specversion": "1.0", "data": null}']
)
def test_what_pub_sub_never_sends_is_invalid(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        parse_message(body, NOW)


@given(data=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_data_is_either_events_or_rejected_never_lost(data: bytes) -> None:
    message = parse_message(json.dumps(envelope(data)).encode(), NOW)
    assert message.events or message.rejected or json.loads(data)["events"] == []
