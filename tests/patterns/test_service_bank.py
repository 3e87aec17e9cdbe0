"""The service's bank as pure functions: circumstances, search, boosts, merging, fading, segments, what is universal."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from adapting import COMEDIES, DRAMAS, NOW, snapshot

from core.candidates.viewer import view
from core.config import RankingSettings
from core.errors import InvalidInput
from core.patterns.bank import DAY_S
from core.patterns.circumstances import circumstances, counted, kind_of_day
from core.patterns.index import lay_out
from core.patterns.known import UNIVERSAL, KnownPattern, content_space, embed, pattern_of
from core.patterns.maintain import Rules, alike, clusters, extract, fade_unused, merge_alike, prune, used
from core.patterns.segments import as_viewers, find_segments, promote, segment_patterns
from core.patterns.session import Trajectory
from core.patterns.store import Applications, StoredSession
from core.profile.state import UserState
from core.ranking.fusion import Fused
from core.ranking.pattern_boost import boost
from core.ranking.query import Context
from core.snapshot.inputs import collect_interactions
from core.snapshot.snapshot import Snapshot

TV_EVENING = {"time_of_day": "evening", "day_of_week": "weekend", "device_type": "tv"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return snapshot(tmp_path_factory.mktemp("world"))


def pattern(
    world: Snapshot, name: str, titles: Sequence[str], results: Sequence[str], **fields: object
) -> KnownPattern:
    vector = embed(world, dict.fromkeys(titles, 1.0))
    length = float(np.linalg.norm(vector))
    made = KnownPattern(
        name, content_space(world), vector / np.float32(length), dict.fromkeys(titles, 1.0 / length),
        counted(TV_EVENING, 5.0), dict.fromkeys(results, 1.0), 0.8, 0.8, 5, NOW, NOW,
    )  # fmt: skip
    return replace(made, **fields)  # type: ignore[arg-type]


def direction(x: float, y: float) -> np.ndarray:
    """A vector of the world's four dimensions."""
    return np.array([x, y, 0.0, 0.0], np.float32)


def test_the_query_finds_the_pattern_it_is_near(world: Snapshot) -> None:
    index = lay_out([pattern(world, "d", DRAMAS[:3], DRAMAS[5:8]), pattern(world, "c", COMEDIES[:3], [])], world)
    query = embed(world, {DRAMAS[0]: 0.9, COMEDIES[0]: 0.1})
    [match] = index.search(query, {}, 1)
    assert index.patterns[match.place].pattern_id == "d"
    assert index.search(np.zeros_like(query), {}, 5) == []
    assert [m.similarity for m in index.search(index.directions[0], {}, 1)] == [pytest.approx(1.0)]


def test_agreeing_circumstances_come_first_and_contradicting_ones_not_at_all(world: Snapshot) -> None:
    same = pattern(world, "same", DRAMAS[:3], [])
    partly = replace(same, pattern_id="partly", context=counted(TV_EVENING | {"device_type": "mobile"}))
    against = replace(same, pattern_id="against", context=counted({"time_of_day": "morning", "device_type": "mobile"}))
    either = replace(same, pattern_id="either", context={"device_type": {"tv": 3.0, "mobile": 3.0}})
    index = lay_out([against, partly, either, same], world)
    names = [index.patterns[m.place].pattern_id for m in index.search(same.embedding, TV_EVENING, 9)]
    assert names == ["either", "same", "partly"]
    assert len(index.search(same.embedding, {}, 9)) == 4


def test_over_fetching_lets_circumstances_choose_among_more_than_are_wanted(world: Snapshot) -> None:
    near = [pattern(world, f"near{n}", DRAMAS[:3], [], context=counted({"time_of_day": "morning"})) for n in range(3)]
    index = lay_out([*near, pattern(world, "right", [*DRAMAS[:3], COMEDIES[0]], [])], world)
    [match] = index.search(near[0].embedding, {"time_of_day": "evening"}, 1)
    assert index.patterns[match.place].pattern_id == "right"


def test_days_have_names_and_numbers() -> None:
    assert [kind_of_day(day) for day in (0, 4, 5, "Sunday", "weekday")] == ["weekday"] * 2 + ["weekend"] * 2 + [
        "weekday"
    ]
    for day in (7, -1, "someday"):
        with pytest.raises(InvalidInput):
            kind_of_day(day)
    assert circumstances(NOW)["time_of_day"] in ("night", "morning", "afternoon", "evening")


def fused(world: Snapshot, names: Sequence[str]) -> Fused:
    rows = np.array([world.row(name) for name in names])
    scores = np.linspace(1.0, 0.5, len(names))
    return Fused(rows, scores, scores[None], ("content",))


def bent(world: Snapshot, patterns: Sequence[KnownPattern], names: Sequence[str], strength: float = 0.3) -> tuple:
    from adapting import likes

    from core.profile.state import fold

    state = fold(UserState("ann"), enumerate(likes("ann", DRAMAS[:3], NOW - DAY_S), 1))
    nothing = np.zeros(len(world), np.float32)
    viewer = view(world, state, Context("evening", "tv"), NOW, nothing, nothing == 0, 0.8)
    settings = RankingSettings(pattern_strength=strength)
    return boost(fused(world, names), viewer, lay_out(patterns, world), settings, len(names))


def test_results_of_a_pattern_rise_bounded_and_explained(world: Snapshot) -> None:
    names = [DRAMAS[20], DRAMAS[21], DRAMAS[5]]
    known = pattern(world, "d", DRAMAS[:3], [DRAMAS[5]], context={})
    after, applied = bent(world, [known], names)
    place = after.rows.tolist().index(world.row(DRAMAS[5]))
    assert after.names == ("content", "pattern")
    assert after.parts[1, place] == pytest.approx(0.5 * 0.3 * 0.8 / 2 * 5 / 9, rel=1e-3)
    assert np.allclose(after.parts.sum(axis=0), after.scores)
    assert applied.by_row == {world.row(DRAMAS[5]): "d"}
    crowd = [replace(known, pattern_id=f"d{n}", confidence=1.0, usage_count=2**40) for n in range(8)]
    most, _ = bent(world, crowd, names)
    assert most.scores.max() <= 1.0 + 1e-6
    assert most.rows[0] == world.row(DRAMAS[20])
    assert (most.parts[1] <= 0.3 * 1.0 + 1e-6).all()


def test_what_was_not_liked_sinks(world: Snapshot) -> None:
    names = [DRAMAS[5], DRAMAS[20]]
    disliked = replace(pattern(world, "d", DRAMAS[:3], [], context={}), results={DRAMAS[5]: -1.0})
    after, applied = bent(world, [disliked], names, strength=4.0)
    assert after.rows[-1] == world.row(DRAMAS[5])
    assert applied.by_row == {}


def test_without_a_pattern_about_it_nothing_changes(world: Snapshot) -> None:
    names = [DRAMAS[5], DRAMAS[20]]
    elsewhere = pattern(world, "c", COMEDIES[:3], [DRAMAS[20]], context={})
    other_results = pattern(world, "d", DRAMAS[:3], [COMEDIES[0]], context={})
    for patterns in ([], [elsewhere], [other_results]):
        after, applied = bent(world, patterns, names)
        assert after.names == ("content",)
        assert applied.by_row is None
    switched_off, _ = bent(world, [pattern(world, "d", DRAMAS[:3], [DRAMAS[20]], context={})], names, strength=0.0)
    assert switched_off.names == ("content",)


def single(world: Snapshot, number: int, vector: np.ndarray, **fields: object) -> KnownPattern:
    made = pattern(world, f"s-{number:03d}", DRAMAS[:1], [DRAMAS[number % 40]], size=1, context=counted(TV_EVENING))
    unit = np.asarray(vector / np.linalg.norm(vector), np.float32)
    return replace(replace(made, embedding=unit, last_used=NOW - DAY_S), **fields)  # type: ignore[arg-type]


def night(bank: list[KnownPattern], now: float = NOW) -> list[KnownPattern]:
    """The daily steps in memory."""
    for step in (
        lambda b: extract(b, now, Rules()),
        lambda b: merge_alike(b, Rules()),
        lambda b: fade_unused(b, now),
        lambda b: prune(b, Rules()),
    ):
        done = step(bank)
        kept = {one.pattern_id: one for one in bank if one.pattern_id not in done.remove}
        bank = sorted((kept | {one.pattern_id: one for one in done.put}).values(), key=lambda one: one.pattern_id)
    return bank


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_the_same_kinds_of_session_stay_as_many_patterns_night_after_night(world: Snapshot, noise: float) -> None:
    rng = np.random.default_rng(0)
    bank: list[KnownPattern] = []
    counts = []
    for cycle in range(5):
        fresh = [single(world, 40 * cycle + n, np.eye(4)[n % 4] + noise * rng.standard_normal(4)) for n in range(40)]
        bank = night([*bank, *fresh])
        counts.append(len(bank))
    assert counts == [4] * 5
    assert sum(one.size for one in bank) == 200


def test_sessions_are_grouped_by_circumstances_too_where_queries_tie(world: Snapshot) -> None:
    tv = [single(world, n, direction(1, 0.01 * n)) for n in range(6)]
    morning = counted({"device_type": "mobile", "time_of_day": "morning"})
    mobile = [single(world, 10 + n, direction(1, 0.01 * n), context=morning) for n in range(6)]
    groups = clusters([*tv, *mobile], 6)
    assert sorted({one.circumstances["device_type"] for one in group} == {"tv"} for group in groups) == [False, True]
    assert all(len({one.circumstances["device_type"] for one in group}) == 1 for group in groups)


def test_a_session_that_may_go_on_waits(world: Snapshot) -> None:
    running = [single(world, n, direction(1, 0.1 * n), last_used=NOW - 3600.0) for n in range(2)]
    assert extract(running, NOW, Rules()).put == []
    assert len(extract(running, NOW + DAY_S, Rules()).put) == 1


def test_sessions_that_have_nothing_in_common_stay_what_they_are(world: Snapshot) -> None:
    apart = [single(world, n, np.eye(4)[n]) for n in range(4)]
    assert extract(apart, NOW, Rules(per_cluster=4)).put == []
    alike_pair = [apart[2], single(world, 9, np.eye(4)[2] + [0, 0, 0, 0.1])]
    [pair] = extract(alike_pair, NOW, Rules()).put
    assert set(pair.results) == {DRAMAS[2], DRAMAS[9]}


def test_only_alike_patterns_in_matching_circumstances_are_merged(world: Snapshot) -> None:
    base = pattern(world, "a", DRAMAS[:1], [DRAMAS[1]], embedding=direction(1, 0))
    near = replace(base, pattern_id="b", embedding=direction(1, 0.2), size=3, results={DRAMAS[2]: 1.0})
    far = replace(base, pattern_id="c", embedding=direction(1, 0.6))
    morning = replace(base, pattern_id="d", context=counted({"time_of_day": "morning", "device_type": "mobile"}))
    assert alike([base, near, far, morning], 0.95) == [(0, 1)]
    done = merge_alike([base, near, far, morning], Rules())
    assert dict(done.remove) == {"b": "a"}
    [both] = done.put
    assert (both.pattern_id, both.size) == ("a", 8)
    assert both.results == {DRAMAS[1]: pytest.approx(5 / 8), DRAMAS[2]: pytest.approx(3 / 8)}
    assert np.allclose(both.embedding, (5 * base.embedding + 3 * near.embedding) / 8)


def test_a_chain_of_alike_patterns_ends_where_nothing_is_alike_any_more(world: Snapshot) -> None:
    angles = np.linspace(0, np.pi / 2, 12)
    chain = [
        pattern(world, f"p{n:02d}", DRAMAS[:1], [], embedding=direction(np.cos(a), np.sin(a)))
        for n, a in enumerate(angles)
    ]
    done = merge_alike(chain, Rules())
    left = [*done.put, *(one for one in chain if one.pattern_id not in done.remove and one not in done.put)]
    left = list({one.pattern_id: one for one in [*chain, *done.put] if one.pattern_id not in done.remove}.values())
    assert 1 < len(left) < 12
    assert alike(left, 0.95) == []
    assert not merge_alike(left, Rules()).remove


def test_prune_drops_the_doubtful_and_what_is_beyond_the_capacity(world: Snapshot) -> None:
    bank = [pattern(world, f"p{n}", DRAMAS[:1], [], confidence=c) for n, c in enumerate((0.29, 0.3, 0.5, 0.9))]
    assert set(prune(bank, Rules()).remove) == {"p0"}
    assert set(prune(bank, Rules(capacity=2)).remove) == {"p0", "p1"}


def test_failures_lower_confidence_and_successes_raise_it(world: Snapshot) -> None:
    before = pattern(world, "p", DRAMAS[:1], [])
    after = used(before, [Applications("p", "", 9, 0, 5, NOW + 60.0), Applications("p", "x", 1, 0, 0, NOW)])
    assert (after.usage_count, after.last_used) == (10, NOW)
    assert after.confidence == pytest.approx(0.8 * 5 / 10)
    liked = used(before, [Applications("p", "", 5, 5, 0, NOW + 60.0)])
    assert (liked.confidence, liked.last_used) == (pytest.approx(9 / 10), NOW + 60.0)


def session(user: str, anchors: Sequence[str], results: Sequence[str]) -> StoredSession:
    liked = dict.fromkeys(results, 1.0)
    one = Trajectory(f"{user}", user, NOW - DAY_S, NOW - DAY_S / 2, 9, dict.fromkeys(anchors, 1.0), TV_EVENING, liked)
    return StoredSession(one, f"s-{user}")


def audience(count: int = 20) -> list[StoredSession]:
    return [
        session(f"{name}{n:02d}", [pool[n], pool[n + 1]], [pool[0], pool[n + 2]])
        for name, pool in (("d", DRAMAS), ("c", COMEDIES))
        for n in range(count)
    ]


def test_segments_are_named_after_their_tastes_and_small_ones_are_none(world: Snapshot) -> None:
    segments = find_segments(audience(), world)
    assert {one.name: {user[0] for user in one.users} for one in segments} == {"drama": {"d"}, "comedy": {"c"}}
    assert find_segments(audience(4), world) == []


def test_a_segment_lifts_what_it_likes_more_than_everybody_does(world: Snapshot) -> None:
    first = segment_patterns(audience(), [], world, NOW)
    drama = next(one for one in first.put if one.segment == "drama")
    assert max(drama.results, key=lambda name: drama.results[name]) == DRAMAS[0]
    assert all(name in DRAMAS for name in drama.results)
    again = segment_patterns(audience(), first.put, world, NOW)
    assert (again.put, dict(again.remove), again.members) == ([], {}, first.members)
    gone = segment_patterns(audience(4), first.put, world, NOW)
    assert set(gone.remove) == {one.pattern_id for one in first.put}


@pytest.mark.parametrize(
    ("rates", "universal"),
    [
        ({"a": 0.6, "b": 0.6, "c": 0.6, "d": 0.6, "e": 0.6}, True),
        ({"a": 0.6, "b": 0.6, "c": 0.6, "d": 0.6, "e": 0.3}, True),
        ({"a": 0.6, "b": 0.6, "c": 0.6, "d": 0.3, "e": 0.3}, False),
        ({"a": 0.9}, False),
    ],
)
def test_universal_is_what_lifts_in_four_of_five_segments(world: Snapshot, rates: dict, universal: bool) -> None:
    tried = pattern(world, "p", DRAMAS[:1], [])
    uses = [Applications("p", name, 100, int(100 * rate), 0) for name, rate in rates.items()]
    uses += [Applications("others", name, 1000, 450, 0) for name in rates]
    done = promote([tried], uses)
    assert [one.segment for one in done.put] == ([UNIVERSAL] if universal else [])
    few = [replace(use, applications=5, successes=5) if use.pattern_id == "p" else use for use in uses]
    assert not promote([tried], few).put
    if not universal:
        demoted = promote([replace(tried, segment=UNIVERSAL)], uses).put
        assert [one.segment for one in demoted] == [""]


def test_universal_patterns_are_viewers_for_the_base(world: Snapshot) -> None:
    nobody = collect_interactions([])
    known = pattern(world, "p", DRAMAS[:2], [DRAMAS[5]], segment=UNIVERSAL)
    assert as_viewers(nobody, [replace(known, segment="")]) is nobody
    more = as_viewers(nobody, [known])
    assert (more.users, len(more.key), more.segments.shape) == (1, 3, (1, 3))
    assert {world.content_id(row) for row in world.rows(more.key)} == {*DRAMAS[:2], DRAMAS[5]}


def test_a_session_of_nobody_known_is_no_pattern(world: Snapshot) -> None:
    one = session("u", [DRAMAS[0]], [DRAMAS[1]]).trajectory
    assert pattern_of(one, world) is not None
    assert pattern_of(replace(one, anchors={}), world) is None
    assert pattern_of(replace(one, anchors={"unknown": 1.0}), world) is None
    assert pattern_of(replace(one, results={"unknown": 1.0}), world) is None
