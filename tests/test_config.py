"""Settings: what the environment says is either understood or refused; nothing that was meant is ignored."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.config import read_settings
from core.errors import ConfigurationError


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("SONA_RANKING_MMR_LAMDA", "SONA_RANKING_MMR_LAMBDA"),
        ("SONA_PRIVACY_EVENTS_KEPT", "SONA_PRIVACY_EVENTS_KEPT_DAYS"),
        ("SONA_STORES_REDIS_URI", "SONA_STORES_REDIS_URL"),
    ],
)
def test_a_misspelt_variable_is_refused_by_name_with_the_one_that_was_meant(wrong: str, right: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{wrong} is the name of no setting; is it {right}\\?$"):
        read_settings({wrong: "0.5"})


def test_variables_of_the_command_line_and_of_other_programs_are_left_alone() -> None:
    others = {"SONA_HOME": "/data", "SONA_PORT": "8080", "_SONA_COMPLETE": "complete_bash", "RANKING_MMR_LAMDA": "1"}
    assert read_settings(others) == read_settings({})


def test_what_cloud_run_sets_is_understood_and_ours_wins(tmp_path: Path) -> None:
    config = tmp_path / "sona.toml"
    config.write_text('[ranking]\nmmr_lambda = 0.1\n[telemetry]\nservice = "file"\n')
    given = {"SONA_CONFIG": str(config), "CLOUD_RUN_TASK_INDEX": "3", "CLOUD_RUN_TASK_COUNT": "4", "K_SERVICE": "run"}
    read = read_settings(given | {"SONA_RANKING_MMR_LAMBDA": "0.5", "SONA_TELEMETRY_SERVICE": "ours"})
    assert (read.job.task_index, read.job.task_count, read.telemetry.service) == (3, 4, "ours")
    assert read.ranking.mmr_lambda == 0.5
    assert read_settings(given).telemetry.service == "run"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[ranking]\nmmr_lamda = 0.5", "mmr_lamda"),
        ("[rankings]\nmmr_lambda = 0.5", "rankings"),
        ("[ranking", "sona.toml"),
    ],
)
def test_a_file_that_says_something_unknown_is_refused_by_name(tmp_path: Path, text: str, named: str) -> None:
    config = tmp_path / "sona.toml"
    config.write_text(text)
    with pytest.raises(ConfigurationError, match=named):
        read_settings({}, config)


@pytest.mark.parametrize(
    ("name", "value"),
    [("SONA_IMPRESSIONS", "perhaps"), ("SONA_STORES_SQL_POOL_SIZE", "4.5"), ("SONA_LIMITS_ENABLED", "")],
)
def test_a_value_of_the_wrong_type_is_refused_by_the_name_of_its_variable(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name} must be (bool|int), not '{value}'"):
        read_settings({name: value})
