"""Code and infrastructure fit: the same functions, variables, topics, buckets, paths; threads and memory that agree."""

from __future__ import annotations

import re
from pathlib import Path

from terraform_files import INFRA, entries, every_file, number, read, strings, variables

from core.config import Settings, environment_names, read_settings
from core.local.gateway import PREFIXES
from core.local.stack import DEAD_LETTERS

ROOT = Path(__file__).parents[2]
STEMS = {path.stem for path in (ROOT / "functions").glob("*.py")} - {"__init__"}
SERVING = {stem for stem in STEMS if "functions_framework.http" in (ROOT / "functions" / f"{stem}.py").read_text()}
# Variables that a deployment must leave alone: they belong to the laptop edition, or lead to stand-ins of Google's.
LAPTOP = {
    "SONA_STORES_SQL_DSN",
    "SONA_STORES_PUBSUB_ENDPOINT",
    "SONA_STORES_STORAGE_ENDPOINT",
    "SONA_AUTH_LOCAL_SECRET_FILE",
}
# And those that Cloud Run sets, or that are empty because nothing is missing without them.
OPTIONAL = {
    "SONA_JOB_TASK_INDEX",
    "SONA_JOB_TASK_COUNT",
    "SONA_EMBEDDING_WEIGHTS",
}


def set_by_terraform() -> set[str]:
    return set(re.findall(r"\bSONA_[A-Z0-9_]+", every_file())) - {"SONA_"}


def test_every_function_and_every_job_is_deployed_and_nothing_else() -> None:
    assert set(entries("functions.tf", "functions")) == SERVING
    assert set(entries("jobs.tf", "jobs")) == STEMS - SERVING


def test_terraform_sets_only_variables_that_the_code_reads() -> None:
    families = {"SONA_"} | {name for name in set_by_terraform() if name.endswith("_")}  # in validations
    assert set_by_terraform() - families <= set(environment_names())


def test_every_variable_that_the_code_reads_is_set_or_has_a_safe_default() -> None:
    defaults, given = read_settings({}), set_by_terraform()
    assert not LAPTOP & given
    for name in set(environment_names()) - LAPTOP - OPTIONAL - given:
        value = default_of(defaults, name)
        tunes = name.startswith("SONA_RANKING_")  # empty: without it, and names no resource
        assert tunes or value not in ("", None), f"{name} is empty by default and not set by Terraform"
        assert not re.search(r"_(PROJECT|BUCKET|TOPIC|INSTANCE|URL|EMAIL|USER)$", name) or "google" in str(value), (
            f"{name} names a resource, so Terraform must set it"
        )


def default_of(settings: Settings, name: str) -> object:
    """The value that `name` has when nobody sets it."""
    return dict(leaves(settings, "SONA"))[name]


def leaves(settings: object, prefix: str) -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for field in settings.__dataclass_fields__:  # type: ignore[attr-defined]
        value, path = getattr(settings, field), f"{prefix}_{field.upper()}"
        found += leaves(value, path) if hasattr(value, "__dataclass_fields__") else [(path, value)]
    return found


def test_names_of_topics_and_buckets_are_the_codes() -> None:
    settings = Settings()
    assert set(entries("pubsub.tf", "topics")) == {settings.stores.interactions_topic, settings.adaptation.topic}
    assert f"{DEAD_LETTERS} = {{}}" in read("pubsub.tf")
    assert 'name     = "lora_adapters"' in read("sql.tf")
    assert settings.stores.sql_database == "lora_adapters"
    buckets = set(entries("storage.tf", "buckets"))
    read_by_code = {name.removesuffix("_bucket") for name in dir(settings.stores) if name.endswith("_bucket")}
    assert buckets == read_by_code | {"source"}
    for kind in read_by_code:
        assert f'google_storage_bucket.this["{kind}"].name' in read("functions.tf")


def test_every_topic_that_a_function_publishes_to_exists() -> None:
    topics = set(entries("pubsub.tf", "topics"))
    for name, body in entries("functions.tf", "functions").items():
        assert set(strings(body, "publishes")) <= topics, name
        uses_publisher = '"publisher"' in (ROOT / "functions" / f"{name}.py").read_text()
        assert not uses_publisher or strings(body, "publishes"), f"{name} warms up a publisher but may not publish"


def test_the_load_balancer_and_the_laptops_gateway_send_paths_to_the_same_functions() -> None:
    deployed = {
        path: name for name, body in entries("functions.tf", "functions").items() for path in strings(body, "paths")
    }
    assert deployed == {path: name for path, name in PREFIXES.items() if not path.startswith("/push/")}
    pushed = {path.removeprefix("/push/"): name for path, name in PREFIXES.items() if path.startswith("/push/")}
    assert {re.search(r'"(\w+)"', body).group(1) for body in entries("pubsub.tf", "topics").values()} == set(pushed)  # type: ignore[union-attr]


def test_instances_have_a_thread_for_every_request_and_one_for_blas() -> None:
    module = read("modules/function/function.tf")
    assert re.search(r"THREADS\s+= tostring\(var\.size\.concurrency\)", module)
    assert re.search(r"max_instance_request_concurrency = var\.size\.concurrency", module)
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        assert re.search(rf'{variable}\s+= "1"', module)


def test_two_snapshots_fit_into_every_instance_that_maps_them() -> None:
    text = read("functions.tf")
    process, snapshot = number(text, "process_mib"), number(text, "snapshot_mib")
    assert snapshot == Settings().snapshot_max_mib == 300  # what is published at most
    for name, body in entries("functions.tf", "functions").items():
        source = (ROOT / "functions" / f"{name}.py").read_text()
        maps = "snapshot    = true" in body
        assert maps or '"snapshots"' not in source, f"{name} maps snapshots, which Terraform does not know"
        assert number(body, "memory_mib") >= process + (2 * snapshot if maps else 0), name


def test_functions_that_use_the_database_get_it() -> None:
    for name, body in entries("functions.tf", "functions").items():
        uses = '"log"' in (ROOT / "functions" / f"{name}.py").read_text()
        assert not uses or re.search(r"sql +=\s*\{", body), f"{name} warms up the event log without a database"


def test_database_users_are_the_identities_of_their_workloads() -> None:
    assert 'account_id   = "sona-fn-${replace(each.key, "_", "-")}"' in read("identity.tf")
    assert 'account_id   = "sona-job-${replace(each.key, "_", "-")}"' in read("identity.tf")
    assert '"sona-fn-${replace(name, "_", "-")}@${var.project_id}.iam"' in read("sql.tf")
    assert '"sona-job-${replace(name, "_", "-")}@${var.project_id}.iam"' in read("sql.tf")
    for stem in STEMS:
        assert len(f"sona-job-{stem}") <= 30, f"{stem}: Google's account names have at most 30 characters"


def settings_to_tune() -> list[str]:
    """The variables of the code that the deployment's `settings` accept, by the validation in variables.tf."""
    block = read("variables.tf").split('variable "settings"')[1].split("\nvariable ")[0]
    accepted = re.compile(re.findall(r'regex\("(\^SONA_.*)", name\)', block)[0])
    refused = set(re.findall(r'"(SONA_\w+)"', re.findall(r"!contains\((\[.*?\])", block)[0]))
    assert refused <= set(environment_names())
    return [name for name in environment_names() if accepted.match(name) and name not in refused]


def test_what_may_be_tuned_is_known_to_the_code_and_nothing_that_terraform_decides() -> None:
    tunable = set(settings_to_tune())
    accepted = re.findall(r"\^SONA_\(\(([A-Z|]+)\)_\[A-Z0-9_\]\+\|([A-Z_|]+)\)\$", read("variables.tf"))
    [(sections, single)] = accepted
    assert all(any(name.startswith(f"SONA_{section}_") for name in tunable) for section in sections.split("|"))
    assert {f"SONA_{name}" for name in single.split("|")} <= tunable
    placed = set(re.findall(r"(?m)^ *(SONA_\w+) +=", every_file()))
    assert tunable & placed == {  # with telemetry only, and by the schedule
        "SONA_TELEMETRY_EXPORTER",
        "SONA_TELEMETRY_ENDPOINT",
        "SONA_TELEMETRY_REGION",
    }
    assert not tunable & (LAPTOP | {"SONA_SNAPSHOT_MAX_MIB", "SONA_EDITION", "SONA_CACHE_DIR"})


def test_what_the_readme_recommends_to_set_may_be_set() -> None:
    readme = (ROOT / "README.md").read_text()
    named = set(re.findall(r"SONA_[A-Z_]+[A-Z]", readme)) & set(environment_names())
    theirs = {f"SONA_{name}" for name in ("PRIVACY_KEYS", "PRIVACY_DEAD_LETTERS", "AUTH_PUSH_CHECKED")}  # set by it
    assert named - theirs <= set(settings_to_tune())


def test_the_readme_lists_every_variable() -> None:
    rows = [
        f"| `{name}` | {description} | {'required' if default is None else f'`{default}`'} |"
        for name, (description, default) in variables().items()
    ]
    assert "\n".join(rows) in read("README.md")


def test_no_secret_and_no_key_file_is_in_the_configuration() -> None:
    text = every_file() + "".join(path.read_text() for path in INFRA.rglob("*.tfvars"))
    assert not re.search(r"google_service_account_key|BEGIN [A-Z ]*PRIVATE KEY|AIza[0-9A-Za-z_-]{30}", text)
    assert not re.search(r'(?m)^\s*(password|secret_data)\s*=\s*"', text)
