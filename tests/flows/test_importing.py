"""An import goes through the same door as live events, once, whatever is repeated or interrupted."""

import time
from collections.abc import Iterator
from itertools import islice

import numpy as np

from core.catalog import Title, content_key
from core.flows import importing
from core.flows.importing import by_user, import_data
from core.flows.services import Services
from core.interaction import Interaction, InteractionType
from core.profile.codec import decode

NOW = time.time()


def rating(user: str, item: str, at: float, stars: float = 5.0) -> Interaction:
    event_id = f"import:{user}:{item}:{at}:{stars}"
    return Interaction(event_id, user, item, InteractionType.RATING_EXPLICIT, at, rating=stars)


def history(user: str, length: int) -> list[Interaction]:
    return [rating(f"{user}-{number % 3}", f"{user}-film-{number}", 1000.0 + number) for number in range(length)]


def seqs(services: Services, user: str) -> list[int]:
    return [item.seq for item in services.log.events(user)]


def test_importing_twice_stores_everything_once(services: Services, user: str) -> None:
    titles = [Title(f"{user}-film-{number}", f"Film {number}") for number in range(9)]
    first = import_data(services, titles, history(user, 9), NOW)
    again = import_data(services, titles, history(user, 9), NOW)
    assert (first.titles_read, first.titles_changed, first.stored, first.known, first.users) == (9, 9, 9, 0, 3)
    assert (again.titles_changed, again.stored, again.known) == (0, 0, 9)
    assert seqs(services, f"{user}-0") == [1, 2, 3]
    assert services.catalog.exists([title.content_id for title in titles]) == {t.content_id for t in titles}


def test_an_interrupted_import_is_finished_by_running_it_again(services: Services, user: str) -> None:
    import_data(services, [], islice(history(user, 30), 17), NOW)
    done = import_data(services, [], history(user, 30), NOW)
    assert (done.stored, done.known) == (13, 17)
    assert seqs(services, f"{user}-1") == list(range(1, 11))


def test_the_state_is_that_of_the_events_and_reaches_the_hot_copy(services: Services, user: str) -> None:
    import_data(services, [], [rating(user, "early", 100.0), rating(user, "late", 200.0, 2.0)], NOW)
    stored, _, degraded = services.states.load_with_adapter(user)
    assert stored is not None
    assert degraded == ()
    state = decode(user, stored.blob)
    assert state.history["key"].tolist() == [content_key("early"), content_key("late")]
    assert state.history["stars"].tolist() == [5.0, 2.0]


def test_how_the_buffer_cuts_the_file_leaves_no_trace(services: Services, user: str, monkeypatch) -> None:
    monkeypatch.setattr(importing, "BUFFERED_EVENTS", 4)
    import_data(services, [], history(f"{user}-a", 30), NOW)
    monkeypatch.setattr(importing, "BUFFERED_EVENTS", 1000)
    import_data(services, [], history(f"{user}-b", 30), NOW)
    for number in range(3):
        states = []
        for kind in "ab":
            stored, *_ = services.states.load_with_adapter(f"{user}-{kind}-{number}")
            assert stored is not None
            states.append(decode("", stored.blob))
        assert np.array_equal(states[0].history["last_at"], states[1].history["last_at"])
        assert states[0].seq == states[1].seq == 10


def test_only_so_many_events_are_held_at_a_time() -> None:
    drawn = 0

    def endless() -> Iterator[Interaction]:
        nonlocal drawn
        while True:
            drawn += 1
            yield rating(f"u{drawn % 5}", f"t{drawn}", float(drawn))

    users = [user for user, _ in islice(by_user(endless(), 50), 5)]
    assert users == ["u1", "u2", "u3", "u4", "u0"]
    assert drawn == 50


def test_progress_tells_what_was_read(services: Services, user: str) -> None:
    seen: list[tuple[int, int]] = []
    titles = [Title(f"{user}-film-0", "Film")]
    import_data(services, titles, history(user, 4), NOW, lambda *read: seen.append(read))
    assert seen == [(1, 0), (1, 1), (1, 2), (1, 3), (1, 4)]
