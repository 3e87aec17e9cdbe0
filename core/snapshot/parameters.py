"""The parameters of a snapshot build, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from core.catalog import RelationshipType
from core.config import RankingSettings
from core.snapshot.graph import WALK_WEIGHTS


@dataclass(frozen=True, slots=True)
class SnapshotParameters:
    """How a snapshot is built. Written into its manifest."""

    neighbours: int = 100  # per list: EASE cut to 100 positive weights ranks within 2 % of uncut EASE, or better
    dims: int = 256  # content vectors until an encoder provides them; SonaConfig.embedding_dim
    # EASE's lambda = this x sqrt(positives). Best lambda measured: 100-300 at 50 000 positives, 30-300 at 65 000, and
    # 300-1000 at 800 000; between half and twice the rule NDCG@10 moves by less than 2 %.
    ease_regularisation: float = 1.0
    ease_min_positives: int = 5  # with 1 the ranking was no better and the matrix 3-4 times wider
    ease_max_titles: int = 12_000  # 12 000^2 float32 = 576 MB, inverted in place
    cosine_shrinkage: float = 10.0  # two titles with one common viewer are no evidence
    transition_window: int = 5  # next-title NDCG@10 .124 and .160 on two data sets; only the very next: .113 and .143
    transition_decay: float = 0.7  # per further gap; .5 and .9 are within one standard error, .3 is worse
    transition_shrinkage: float = 20.0  # K / (row + 20); best of offline trials on ml-1m
    sequence_decays: tuple[float, ...] = (0.3, 0.85)  # one for the last titles, one for the taste
    # Ridge = this x sqrt(positives), as for EASE: 300 at a million positives, where it was chosen.
    sequence_regularisation: float = 0.3
    sequence_max_titles: int = 4000  # two scales: an 8 000^2 system, 256 MB of float32 and half a minute of one core
    popularity_half_life_days: float = 3.0  # a prior for the online counts: steadier than those of RankingSettings
    context_prior_events: float = 500.0  # a daypart or device with fewer positives looks mostly like everybody
    segment_min_users: int = 10  # smaller segments are noise, and would tell about single people
    restart_probability: float = 0.3  # of the graph walk: of two real data sets one prefers .5, the other .15
    walk_weights: Mapping[RelationshipType, float] = field(default_factory=lambda: dict(WALK_WEIGHTS))
    # Of communities: 2 finds 45 and 62 of some 200 titles that belong together by eye, modularity .53 and .41; 1 finds
    # 18 and 19 mixtures.
    community_resolution: float = 2.0
    # Of the graph embedding beside the walk, for new titles. NDCG@10 of the graph's lists among titles kept from the
    # training: .177 without, .199 with .3, .213 with 1 on ml-latest-small, .071, .091 and .107 on MovieTweetings.
    sage_strength: float = 1.0
    # Text vectors that a snapshot carries; beyond, the database's index is asked. Scanned here, 50 000 cost 13 ms.
    text_max_titles: int = 50_000
    # Of the content encoder beside shared features, by `sona evaluate --protocol cold-items`: the content strategy's
    # NDCG@10 among new titles with 0 and 1 is .169 and .224 on ml-latest-small, .161 and .179 on MovieTweetings; .3
    # brings less. Served warm titles on MovieTweetings: -.0006 +-.0007.
    audience_strength: float = 1.0
    audience_half_likes: float = 2.0  # with so many likes a title needs the content encoder half as much
    # People whose histories are compared with a viewer's, where that foretells more than the rest. 20 000 x 100 likes
    # are 24 MB. Of a title with many likes the latest count; 1 000 cost twice the time and rank the same.
    kindred_viewers: int = 0
    kindred_likes: int = 100
    kindred_per_title: int = 500
    # The network that expects the next title, where that foretells more than the rest: of served NDCG@10 on
    # validation windows it brings .018 with a million likes, and with 50 000 nothing on two data sets.
    next_title_positives: int = 100_000
    next_title_max_titles: int = 12_000  # the most liked; a request takes .07 ms for 3 400 and .16 for so many
    next_title_dims: int = 96  # alone, 64 rank .004 worse and 160 no better
    next_title_passes: int = 25  # over all viewers, in batches of 32
    next_title_steps: int = 6000  # at most; 30 ms of one core each, however many likes there are
    # Of passes and rate, from the rehearsal's weights to those of all likes: within .001 of a training from scratch.
    next_title_again: float = 0.25
    # Learning the weights of fusion (core.snapshot.fusion_weights): the latest likes, at most so many, and which titles
    # take part. Replaying 3 000 costs 6 s at 10 000 titles; the fit, one more.
    fusion_share: float = 0.1
    fusion_examples: int = 3000
    fusion_likes: int = 3
    fusion_holdout: str = "time"  # or "last", each user's last like, where nothing is known but the order of titles
    online_half_life_days: float = 1.0  # of the counters that requests see: RankingSettings.popularity_half_life_days
    history_decay: float = 0.8  # per step back that requests apply: RankingSettings.history_decay
    seed: int = 0  # of the singular vectors' starting point

    @classmethod
    def serving(cls, settings: RankingSettings) -> SnapshotParameters:
        """For requests with these settings: what a rehearsal has to do as they do."""
        return cls(
            kindred_viewers=settings.kindred_viewers,
            online_half_life_days=settings.popularity_half_life_days,
            history_decay=settings.history_decay,
        )
