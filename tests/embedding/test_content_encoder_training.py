"""What the encoders learn from who liked what, and when they are accepted."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from core.catalog import Title, content_key
from core.embedding.content_encoder_network import encode_titles
from core.embedding.content_encoder_pair import EncoderPair
from core.embedding.content_encoder_renewal import RenewalSettings, held_back_ndcg, renew_encoders
from core.embedding.content_encoder_training import EncoderSettings, Lessons, draw, dropped, train_encoders
from core.embedding.user_encoder_network import encode_users
from core.interaction import Interaction, InteractionType
from core.snapshot.inputs import collect_interactions
from core.snapshot.snapshot import Neighbours

# Titles of genres 0 and 1 have one audience, those of 2 and 3 another; nothing that is known of them says so.
GENRES = np.arange(60) % 4
SETTINGS = EncoderSettings(steps=60, users=40, negatives=60, rate=0.005)


@pytest.fixture(scope="module")
def rng():
    return np.random.default_rng(11)


@pytest.fixture(scope="module")
def liked(rng):
    """(80, 60): user u likes twelve titles of the genres 2 (u % 2) and 2 (u % 2) + 1, but none of the last eight."""
    matrix = np.zeros((80, 60), np.float32)
    for user in range(80):
        own = np.flatnonzero(GENRES[:52] // 2 == user % 2)
        matrix[user, rng.choice(own, 12, replace=False)] = 1
    return sparse.csr_array(matrix)


def lessons(liked):
    genres = sparse.csr_array((np.ones(60, np.float32), (np.arange(60), GENRES)), shape=(60, 4))
    return Lessons(genres, np.zeros((60, 0), np.float32), liked)


def test_new_titles_land_where_their_audience_is_and_not_where_their_features_are(liked):
    content, user = train_encoders(lessons(liked), SETTINGS)
    e = encode_titles(content, lessons(liked).terms, np.zeros((60, 0), np.float32)).vectors
    fans = encode_users(user, e[:4, None], np.ones((4, 1), np.float32)).vectors  # of one title of each genre
    fit = fans @ e[52:].T
    same_audience = (GENRES[:4] // 2)[:, None] == (GENRES[52:] // 2)[None]
    same_genre = GENRES[:4][:, None] == GENRES[52:][None]
    assert fit[same_audience & ~same_genre].min() > fit[~same_audience].max()


def test_training_the_same_twice_gives_the_same(liked):
    short = replace(SETTINGS, steps=5)
    (first, _), (second, _) = train_encoders(lessons(liked), short), train_encoders(lessons(liked), short)
    np.testing.assert_array_equal(first.terms, second.terms)


def test_nothing_is_learned_where_nobody_liked_two_titles():
    single = sparse.csr_array(np.eye(60, dtype=np.float32))
    assert train_encoders(lessons(single), SETTINGS) is None


def test_what_is_hidden_is_liked_and_not_shown(liked, rng):
    batch = draw(liked, np.arange(80), np.arange(52), SETTINGS, rng)
    dense = liked.toarray()[:, batch.titles]
    for row in range(len(batch.shown)):
        shown = batch.shown[row][batch.strength[row] > 0]
        hidden = batch.hidden[row][batch.share[row] > 0]
        assert any(one[np.r_[shown, hidden]].all() for one in dense)  # somebody liked all of it
        assert not set(shown) & set(hidden)
        assert batch.excluded[row, shown].all()
        assert not batch.excluded[row, hidden].any()
    np.testing.assert_allclose(batch.strength.sum(axis=1), 1, rtol=1e-5)


def test_no_title_loses_both_its_parts(rng):
    terms = sparse.csr_array(np.ones((200, 30), np.float32))
    full = Lessons(terms, np.ones((200, 3), np.float32), sparse.csr_array((1, 200), dtype=np.float32))
    harsh = replace(SETTINGS, drop_terms=0.3, drop_text=0.5, drop_structure=0.5)
    left, text = dropped(full, np.arange(200), harsh, rng)
    structured = left.toarray().any(axis=1)
    assert (structured | text.any(axis=1)).all()
    assert 20 < (~structured).sum() < 180
    assert 20 < (~text.any(axis=1)).sum() < 180
    assert left.toarray()[structured].mean() == pytest.approx(1, abs=0.1)  # scaled up for what is lost


# Here six genres have one audience, and nobody likes more than four titles: shared features miss most of what fits.
TITLES = [Title(f"t{i}", f"{chr(97 + i % 26)}{i}", genres=(f"genre {i % 12}",)) for i in range(60)]


@pytest.fixture(scope="module")
def interactions(rng):
    events = []
    for user in range(200):
        audience = [i for i in range(60) if i % 12 // 6 == user % 2]
        events += [
            Interaction(f"{user}-{title}", f"user {user}", f"t{title}", InteractionType.LIKE, 1e9)
            for title in rng.choice(audience, 4, replace=False).tolist()
        ]
    return collect_interactions(events)


def test_encoders_that_help_are_accepted_and_those_that_change_nothing_are_not(interactions, tmp_path):
    settings = RenewalSettings(held_back=0.2, training=SETTINGS)
    good = renew_encoders(TITLES, interactions, None, tmp_path / "good", settings)
    unused = replace(
        settings, training=replace(SETTINGS, steps=5), snapshot=replace(settings.snapshot, audience_strength=0.0)
    )
    bad = renew_encoders(TITLES, interactions, None, tmp_path / "bad", unused)
    assert good.judgement.accepted
    assert good.judgement.gain > 2 * good.judgement.gain_se > 0
    assert not bad.judgement.accepted
    assert EncoderPair.open(good.content, good.user).version == good.version != bad.version


def test_too_few_judges_judge_nothing(interactions, tmp_path):
    assert renew_encoders(TITLES, interactions, None, tmp_path, RenewalSettings(least_users=201)) is None


def test_held_back_titles_are_ranked_by_the_neighbours_of_what_was_liked():
    # title 0 was liked; 1 and 2 are held back. The user liked 2, which is 0's second neighbour.
    lists = Neighbours(
        np.array([[1, 2], [1, 1], [2, 2]], np.int32), np.array([[0.5, 0.25], [0, 0], [0, 0]], np.float16)
    )
    learned, kept = (sparse.csr_array(np.array([row], np.float32)) for row in ([1, 0, 0], [0, 0, 1]))
    held = np.array([False, True, True])
    assert held_back_ndcg(lists, learned, kept, held, np.array([0])) == pytest.approx([1 / np.log2(3)])
    tied = Neighbours(lists.index, np.array([[0.5, 0.5], [0, 0], [0, 0]], np.float16))
    assert held_back_ndcg(tied, learned, kept, held, np.array([0])) == pytest.approx([1 / np.log2(3)])
    blank = Neighbours(lists.index, np.zeros((3, 2), np.float16))
    assert held_back_ndcg(blank, learned, kept, held, np.array([0])) == [0]


def test_these_titles_are_not_in_the_order_of_their_keys():
    keys = [content_key(title.content_id) for title in TITLES]
    assert keys != sorted(keys)  # or the other tests here prove less than they seem to
