"""The whole evaluation on made-up data with a known winner: the serving flow learns, and the report is honest."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer import Typer
from typer.testing import CliRunner

from core.adaptation.lora import delta
from core.config import AdaptationSettings, RankingSettings
from core.errors import ConfigurationError, InvalidInput
from core.evaluation import legacy, serving
from core.evaluation.command import command
from core.evaluation.controls import constant_input, plain_fold_in
from core.evaluation.dataset import Dataset, load
from core.evaluation.histories import Histories
from core.evaluation.report import html
from core.evaluation.run import FROZEN, OURS, EvaluationOptions, evaluate
from core.evaluation.serving import Variant
from core.evaluation.splits import Split, leave_one_out, stream
from core.flows.replay import fold_each, thresholds_of
from core.profile.codec import encode
from core.profile.state import UserState
from core.snapshot.snapshot import Snapshot
from core.stores.protocols import SequencedEvent


@pytest.fixture(scope="module")
def report(two_tastes: Path) -> dict:
    return evaluate(EvaluationOptions(two_tastes, peers=True, legacy=True, max_events=400))


@pytest.fixture(scope="module")
def snapshot(two_tastes_split: Split, tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return serving.build_snapshot(two_tastes_split, tmp_path_factory.mktemp("snapshot"))


def test_who_uses_the_history_wins_where_only_the_history_tells(report: dict) -> None:
    ndcg = {name: row["ndcg@10"] for name, row in report["systems"].items()}
    for name in ("ease", "hybrid", "itemknn", OURS):
        gap = ndcg[name] - ndcg["popularity"]
        assert gap > 3 * report["systems"][name]["ndcg@10_se"], name
    assert ndcg["ease"] > ndcg["ease_frozen"]


def test_learning_lifts_the_serving_flow(report: dict) -> None:
    assert report["systems"][OURS]["ndcg@10"] > report["systems"][FROZEN]["ndcg@10"]
    lift = report["lift"]["all"]["ndcg@10"]
    assert lift["low"] > 0.0
    change = report["systems"][FROZEN]["against_default"]["ndcg@10"]["difference"]
    assert change == pytest.approx(report["systems"][FROZEN]["ndcg@10"] - report["systems"][OURS]["ndcg@10"])
    expected = report["systems"][OURS]["ndcg@10"] / report["systems"][FROZEN]["ndcg@10"] - 1
    assert lift["difference"] == pytest.approx(expected)


def test_new_users_get_better_lists_as_they_go_on(report: dict) -> None:
    steps = report["systems"][OURS]["new_users"]
    assert list(steps) == ["0", "1", "3", "5", "10"]
    assert steps["5"]["ndcg@10"] > steps["0"]["ndcg@10"]
    frozen = report["systems"][FROZEN]["new_users"]
    assert frozen["0"]["ndcg@10"] == pytest.approx(steps["0"]["ndcg@10"])  # nothing was learned yet
    assert sum(row["events"] for row in steps.values()) <= report["events"]


def test_the_report_names_what_was_measured_and_is_plain_json(report: dict) -> None:
    assert (report["data"][:10], report["protocol"], report["events"]) == ("two-tastes", "stream", 400)
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    for row in report["systems"].values():
        for metric in ("ndcg@10", "hr@10", "precision@10", "recall@10", "mrr@10"):
            assert 0 <= row[metric] <= 1
            assert row[f"{metric}_se"] > 0
        assert sum(row["popularity_tenths"]) == pytest.approx(1.0, abs=1e-4)
        assert 0 < row["coverage@10"] <= 1
    assert set(report["systems"]["popularity"]["paired"]) == {"ndcg@10", "hr@10", "precision@10", "recall@10", "mrr@10"}
    assert report["systems"][OURS]["cold"]["events"] == report["systems"]["ease"]["cold"]["events"]
    assert "paired" not in report["systems"][report["against"]]


def test_where_every_title_is_a_candidate_all_targets_are_the_warm_and_the_cold_ones(tmp_path: Path) -> None:
    found = evaluate(EvaluationOptions(write_premieres(tmp_path), peers=True, ablations=False))
    ours, popular = (found["systems"][name]["open"] for name in (OURS, "popularity"))
    for row in (ours, popular):
        sizes = {part: row[part]["events"] for part in ("all", "warm", "cold")}
        assert sizes == {"all": found["events"] + found["cold_events"], "warm": found["events"], "cold": 36}
        parts = sum(row[part]["ndcg@10"] * row[part]["events"] for part in ("warm", "cold"))
        assert row["all"]["ndcg@10"] == pytest.approx(parts / sizes["all"])
    assert popular["cold"]["ndcg@10"] == 0.0
    assert ours["cold"]["ndcg@10"] > 0.4  # whoever comes second can be shown what the first one liked
    gap = ours["all"]["paired"]["ndcg@10"]["difference"]
    against = found["systems"][found["against"]]["open"]["all"]
    assert gap == pytest.approx(ours["all"]["ndcg@10"] - against["ndcg@10"])
    assert "Every one of 17 titles a candidate" in html(found)


def test_the_command_says_what_new_titles_get_even_where_there_are_no_new_users(tmp_path: Path) -> None:
    app = Typer()
    app.command("evaluate")(command)
    data = str(write_premieres(tmp_path))
    result = CliRunner().invoke(app, ["--data", data, "--positive", "4", "--no-ablations"])
    assert result.exit_code == 0, result.output
    assert "every one of 17 titles a candidate" in result.output
    assert "cold (36)" in result.output
    assert "0 new users" in result.output


def write_premieres(folder: Path) -> Path:
    """60 viewers, one a day, like ten of sixteen titles each; then 40 in two hours three each and then what is new."""
    rng = np.random.default_rng(6)
    rows = [
        f"{user},{item},5,{86_400 * min(user, 60) + 200 * max(user - 60, 0) + place}"
        for user in range(100)
        for place, item in enumerate([*rng.permutation(16)[: 10 if user < 60 else 3], *([16] if user >= 64 else [])])
    ]
    (folder / "interactions.csv").write_text("\n".join(["user_id,item_id,rating,timestamp", *rows]) + "\n")
    return folder


def test_the_report_says_how_long_each_part_of_the_ranking_took(report: dict) -> None:
    latency = report["latency_ms"]
    assert {"context", "content", "graph", "rank"} <= set(latency)
    for row in latency.values():
        assert 0 < row["p50"] <= row["p99"]
        assert row["p50"] <= latency["rank"]["p50"]  # a part that few requests ask has a 99th percentile of its own


def test_only_the_systems_that_are_named_run_beside_our_own(two_tastes: Path) -> None:
    found = evaluate(EvaluationOptions(two_tastes, max_events=40, systems=("sona, no adapters", "popularity")))
    assert list(found["systems"]) == ["sona", "sona, no adapters", "popularity"]
    with pytest.raises(InvalidInput, match="there are sona, "):
        evaluate(EvaluationOptions(two_tastes, systems=("sona, no adaptors",)))


def test_paired_intervals_are_against_the_chosen_system(two_tastes: Path) -> None:
    options = EvaluationOptions(two_tastes, max_events=60, against=FROZEN)
    found = evaluate(options)
    gap = found["systems"][OURS]["paired"]["ndcg@10"]["difference"]
    assert gap == pytest.approx(found["systems"][OURS]["ndcg@10"] - found["systems"][FROZEN]["ndcg@10"])
    with pytest.raises(InvalidInput, match="no system 'netflix'"):
        evaluate(replace(options, against="netflix"))


def test_the_same_evaluation_twice_gives_the_same_numbers(two_tastes: Path) -> None:
    options = EvaluationOptions(two_tastes, max_events=60)
    first, second = evaluate(options), evaluate(options)
    assert first["systems"] == second["systems"]


def test_legacy_figures_are_labelled_and_flatter(report: dict) -> None:
    assert "overstate" in report["legacy"]["warning"]
    for name in (OURS, "popularity", "ease", "hybrid"):
        assert report["legacy"]["random-split"][name]["precision@10"] >= 0
    assert report["legacy"]["random-split"][OURS]["precision@10"] > report["systems"][OURS]["precision@10"]


def test_without_the_switch_there_are_no_legacy_figures_and_no_peers(two_tastes: Path) -> None:
    found = evaluate(EvaluationOptions(two_tastes, max_events=40, ablations=False))
    assert "legacy" not in found
    assert list(found["systems"]) == [OURS]


def test_sampled_candidates_hold_the_target_and_nothing_rated(two_tastes_split: Split) -> None:
    at = replace(two_tastes_split, cases=two_tastes_split.cases.take(np.arange(20)))
    only = legacy.sampled_candidates(at, at.cases, np.random.default_rng(0))
    assert only[:, 0].tolist() == at.cases.targets.values.tolist()
    for row, (user, visible) in enumerate(zip(at.cases.user, at.cases.visible, strict=True)):
        rated = at.data.item[at.timeline.row(user)[:visible]]
        assert not np.isin(only[row], rated).any()


def test_the_served_lists_do_not_depend_on_what_comes_after_them(two_tastes_split: Split, snapshot: Snapshot) -> None:
    first = two_tastes_split.cases.take(np.arange(40))
    later = two_tastes_split.data.at > first.now[-1]
    items = two_tastes_split.data.item
    changed = replace(two_tastes_split, data=replace(two_tastes_split.data, item=np.where(later, items[::-1], items)))
    ours = serving.recommend(Variant(), two_tastes_split, snapshot, first)
    theirs = serving.recommend(Variant(), changed, snapshot, first)
    assert np.array_equal(ours.lists, theirs.lists)
    assert ours.degraded == ()


def test_the_served_lists_keep_to_the_catalogue_and_leave_out_what_was_rated(
    two_tastes_split: Split, snapshot: Snapshot
) -> None:
    at = replace(two_tastes_split, catalogue=two_tastes_split.catalogue[::2])
    cases = at.cases.take(np.arange(30))
    for variant in (Variant(), Variant(learning=False)):
        lists = serving.recommend(variant, at, snapshot, cases).lists
        for shown, user, visible in zip(lists, cases.user, cases.visible, strict=True):
            used = shown[shown >= 0]
            assert np.isin(used, at.catalogue).all()
            assert not np.isin(used, at.data.item[at.timeline.row(user)[:visible]]).any()
    wide = serving.recommend(Variant(), at, snapshot, cases, wide=True).lists
    assert not np.isin(wide[wide >= 0], at.catalogue).all()


def test_a_frozen_user_is_answered_as_at_the_cut(two_tastes_split: Split, snapshot: Snapshot) -> None:
    cases = two_tastes_split.cases
    unchanged = cases.visible == cases.frozen
    on, off = (
        serving.recommend(Variant(learning=learning), two_tastes_split, snapshot, cases).lists
        for learning in (True, False)
    )
    assert np.array_equal(on[unchanged], off[unchanged])
    assert not np.array_equal(on[~unchanged], off[~unchanged])


def test_users_asked_for_in_any_order_are_those_of_ingest_from_the_start(
    two_tastes_split: Split, snapshot: Snapshot
) -> None:
    data, histories = two_tastes_split.data, Histories(two_tastes_split, snapshot)
    thresholds = thresholds_of(AdaptationSettings())
    for user, visible in ((3, 9), (3, 4), (3, 12), (5, 2), (3, 4)):
        events = [data.event(int(index)) for index in two_tastes_split.timeline.row(user)[:visible]]
        told = [SequencedEvent(seq, event) for seq, event in enumerate(events, 1)]
        expected = fold_each(UserState(data.user_ids[user]), told, snapshot, thresholds)
        assert encode(histories.at(user, visible)[0]) == encode(expected)


def test_an_accepted_adaptation_is_there_from_the_event_that_asked_for_it(
    two_tastes_split: Split, snapshot: Snapshot
) -> None:
    histories = Histories(two_tastes_split, snapshot)
    for user in range(two_tastes_split.data.users):
        events = len(two_tastes_split.timeline.row(user))
        versions = [histories.at(user, visible)[1] for visible in range(events + 1)]
        numbers = [adapter.version if adapter else 0 for adapter in versions]
        assert numbers == sorted(numbers)
    assert histories.verdicts.get("accepted", 0) > 0


def test_controls_replace_what_adapters_can_express(snapshot: Snapshot) -> None:
    space = snapshot.space
    assert space is not None
    q = np.random.default_rng(0).standard_normal(space.sources.shape[1]).astype(np.float32)
    assert delta(plain_fold_in(space).base, q) == pytest.approx(q, abs=1e-5)
    wide = constant_input(space)
    rows = np.flatnonzero(snapshot.popularity_all > 0)
    seen = wide.sources[rows] @ wide.A_slow.T
    assert (seen == seen[0]).all()
    assert (seen[0] != 0).any()


def test_service_counts_every_rating_above_three_stars(random_data: Dataset) -> None:
    assert serving.counted_in_service(random_data).tolist() == (random_data.stars > 3).tolist()


def test_users_are_left_one_out_through_the_same_flow(two_tastes: Path) -> None:
    found = evaluate(EvaluationOptions(two_tastes, "loo", max_events=80))
    assert FROZEN not in found["systems"]  # nobody goes on: frozen or not is the same
    assert found["events"] == 80
    assert found["systems"][OURS]["ndcg@10"] > 0.2
    assert "lift" not in found


def test_order_only_data_are_evaluated(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    rows = [f"{user},{(rng.integers(20) + step) % 20},{step}" for user in range(60) for step in range(5)]
    (tmp_path / "interactions.csv").write_text("\n".join(["user_id,item_id,pos", *dict.fromkeys(rows)]) + "\n")
    data = load(tmp_path)
    assert (data.timed, bool(data.positive.all())) == (False, True)
    assert leave_one_out(data).cases.visible.min() >= 2
    found = evaluate(EvaluationOptions(tmp_path, "loo", peers=True))
    assert found["positive"] is None


def test_a_threshold_is_in_the_datas_own_scale(tmp_path: Path) -> None:
    rows = "user_id,item_id,rating,timestamp\n1,1,7,1\n1,2,8,2\n1,3,10,3\n"
    (tmp_path / "interactions.csv").write_text(rows)
    assert load(tmp_path).positive.tolist() == [False, True, True]
    assert load(tmp_path, 7.0).positive.tolist() == [True, True, True]
    assert load(tmp_path, 9.0).positive.tolist() == [False, False, True]


def test_the_page_stands_alone_and_shows_every_system(report: dict) -> None:
    page = html(report)
    assert page.count("<svg") == 7  # all plots but genres, which these titles do not have
    for name in report["systems"]:
        assert name in page
    assert not re.search(r"<(script|link|img|iframe)|url\(http|@import", page)
    assert not re.search(r"(src|href)=[\"']https?:", page)
    assert "Legacy protocols" in page


def test_the_command_prints_json_alone_and_writes_a_page(two_tastes: Path, tmp_path: Path) -> None:
    app = Typer()
    app.command("evaluate")(command)
    page, kept = tmp_path / "report.html", tmp_path / "report.json"
    arguments = ["--data", str(two_tastes), "--positive", "4", "--max-events", "40", "--json", "--html", str(page)]
    result = CliRunner().invoke(app, [*arguments, "--json-out", str(kept)])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["events"] == 40
    assert kept.read_text() == result.stdout
    assert page.read_text().startswith("<!doctype html>")


def test_a_page_that_cannot_be_drawn_is_refused_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = Typer()
    app.command("evaluate")(command)
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # as if it were not installed
    result = CliRunner().invoke(app, ["--data", str(tmp_path / "absent"), "--html", str(tmp_path / "report.html")])
    assert isinstance(result.exception, ConfigurationError)
    assert "matplotlib" in str(result.exception)


def test_other_settings_are_other_systems(two_tastes_split: Split, snapshot: Snapshot) -> None:
    cases = two_tastes_split.cases.take(np.arange(60))
    by_ranks, by_scores = (
        serving.recommend(Variant(RankingSettings(fusion=fusion)), two_tastes_split, snapshot, cases).lists
        for fusion in ("rrf", "scores")
    )
    assert not np.array_equal(by_ranks, by_scores)


def test_a_stream_of_one_user_has_no_standard_error(tmp_path: Path) -> None:
    rows = [f"{user},{item},5,{100 * user + item}" for user in range(8) for item in range(6)]
    rows += [f"9,{item},5,{10_000 + item}" for item in range(12)]
    (tmp_path / "interactions.csv").write_text("\n".join(["user_id,item_id,rating,timestamp", *rows]) + "\n")
    assert set(stream(load(tmp_path)).cases.user) == {8}
    found = evaluate(EvaluationOptions(tmp_path, ablations=False))
    assert found["systems"][OURS]["ndcg@10_se"] is None
    json.dumps(found, allow_nan=False)
