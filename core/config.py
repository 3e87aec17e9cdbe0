"""Settings: the only reader of the environment, and of an optional TOML file named by SONA_CONFIG.

A field `foo` of section `bar` is set by the variable SONA_BAR_FOO, or by `foo` under `[bar]` in the file; the
environment wins.
Every default carries its reason. An unknown key in the file, an unknown variable of a section, or a value of the wrong
type, is an error that names it.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

from core.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Where the stores are, and how long they may take."""

    sql_dsn: str = ""  # a plain PostgreSQL connection string; empty where Cloud SQL is configured
    sql_instance: str = ""  # project:region:instance: connect through cloud-sql-python-connector with IAM
    sql_user: str = ""  # IAM database user of this workload, with sql_instance
    sql_database: str = "lora_adapters"  # the specification's database name
    sql_readers: str = ""  # users, separated by commas, that the migration lets read; they have no rights of their own
    sql_writers: str = ""  # and those that it lets write
    sql_pool_size: int = 4  # connections per instance; max_instances x this stays below max_connections
    sql_timeout_s: float = 5.0  # statement and pool wait; below every request timeout
    sql_prompt_timeout_s: float = 1.0  # of what a request looks up by key and can do without: its user, what changed
    sql_connect_timeout_s: float = 3.0  # a connection takes milliseconds, through the connector once a certificate too
    redis_url: str = ""  # redis:// or rediss://; Memorystore's AUTH string is part of it
    redis_ca_file: str = ""  # certificate authority of Memorystore's TLS
    redis_timeout_s: float = 0.25  # a hot store slower than this is worse than the cold one
    state_ttl_s: int = 30 * 86_400  # hot copies live 30 days, refreshed on use
    project: str = "sona-local"  # Google Cloud project of the topics
    publish_timeout_s: float = 3.0  # collect answers 503 when the broker takes longer
    pubsub_endpoint: str = ""  # host:port of a Pub/Sub stand-in; empty means Google's
    interactions_topic: str = "interactions"
    snapshots_bucket: str = "sona-snapshots"
    models_bucket: str = "sona-models"  # text encoders; only deployments write there
    storage_endpoint: str = ""  # a Cloud Storage stand-in; empty means Google's


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """Whose tokens count, and what their roles may."""

    issuer: str = ""  # with audience and jwks_url: tokens of an identity provider; all empty = everybody is refused
    audience: str = "sona"
    jwks_url: str = ""
    local_secret_file: str = ""  # the laptop's signing secret; refused unless edition is "laptop"
    service_role: str = "service"  # role claim that may act for any user
    admin_role: str = "admin"  # role claim that may plan and judge experiments
    push_audience: str = ""  # OIDC audience of Pub/Sub pushes; checked on ingest when set
    push_email: str = ""  # service account that pushes
    push_checked: bool = False  # Cloud Run's IAM has checked and stripped the signature; private functions only
    push_jwks_url: str = "https://www.googleapis.com/oauth2/v3/certs"  # keys of the tokens that Pub/Sub pushes carry


@dataclass(frozen=True, slots=True)
class RankingSettings:
    """How answers are composed; core.experiments.overrides says which of these a variant may change."""

    preset: str = "tuned"  # weights from data; or sona (.30/.20/.40/.10) or classic (.35/.25/.30/.10), as specified
    fusion: str = "logs"  # logs (a log-linear model of the whole catalogue), rrf or scores
    rrf_k: float = 60.0  # Cormack et al. 2009
    mmr_lambda: float = 0.7  # as specified
    genre_cap: float = 0.7  # of an answer from one primary genre; .5 costs ml-1m NDCG@10 .004, the specified .4 more
    cold_start_draw: bool = False  # Thompson sampling of genres for new viewers; costs them .01 NDCG@10, the mean gains
    exploration_share: float = 0.3  # of answers whose tenth place goes to a new title; NDCG@10 costs: 1 .0015 and .0025
    events: str = ""  # JSON list of yearly occasions, instead of those of core.candidates.calendar; []: none
    search_weight: float = 0.7  # of what a request asks for in words, against all that is known of the viewer
    pool_size: int = 200  # candidates per strategy; recall at 200 exceeds .5 on the evaluation sets
    strategy_deadline_ms: float = 40.0  # later strategies are named in `degraded`
    history_decay: float = 0.8  # weight per step back in history; chosen on validation, reference EASE + decay
    half_life_days: float = 30.0  # preference vector: 0.95 ^ (days / 30)
    # People in a snapshot whose order of likes, without a name, is compared with the viewer's; 0: none. It is data of
    # persons and lasts until the next build. Worth it for long histories (ml-1m +.004), not on the streams.
    kindred_viewers: int = 0
    popularity_half_life_days: float = 1.0  # online popularity; against 3, validation NDCG@10 +.014 and +.008
    # Tiers of the adapter: what each moves a score by at most, in log-odds per unit of match; 0 switches it off.
    # Chosen on validation: base 1 brings most, slow and fast .3 cost nothing there and 1 costs MovieTweetings .003.
    base_tier: float = 1.0  # what all users share
    slow_tier: float = 0.3  # what adaptations learned
    fast_tier: float = 0.3  # what the latest events taught; applied while it foretells
    # Attention that shares weight among the signals by circumstances, of what the snapshot has learned: "best" by its
    # held-back examples, a mechanism's name, "selected" (the three proposed for the query's type), or "": none.
    fusion_attention: str = "best"
    history_attention: str = ""  # a mechanism or "selected" pools the history into a query; "": .8^age, no worse
    pattern_strength: float = 0.3  # log-odds per unit of lift of the patterns found; 0: no patterns
    counters_max_age_s: float = 30.0  # shared counters are cached this long per instance


@dataclass(frozen=True, slots=True)
class AdaptationSettings:
    """When slow tiers learn, from what, and when an update is refused."""

    interactions: int = 5  # since the last adaptation was asked for, as specified
    interval_s: float = 3600.0  # between two adaptations of one user, as specified
    signal: float = 0.7  # accumulated |signal strength| to be exceeded, as specified
    topic: str = "adaptation-requests"
    passes: int = 5  # over the examples per adaptation, as specified
    # What keeps an old taste through a new one: small replay, by `sona evaluate --protocol forgetting`. EWC++ with the
    # lambda of the original's README, 0.4, keeps as much or more of it and learns the new one less well.
    ewc_lambda: float = 0.0
    ewc_gamma: float = 0.95  # memory of the online Fisher: about the last twenty adaptations count
    ewc_tasks: int = 3  # finished tastes kept apart, 4 KB each; older ones are consolidated
    replay: int = 32  # titles of finished tastes in every training; 16 keep less, 64 the same
    history: int = 200  # titles that are learned from; older ones have left the user state anyway
    held_back: float = 0.2  # latest share of them that judges the update instead
    tolerance: float = 1.0  # standard errors by which their order may get worse before an update is rolled back
    negatives: int = 4  # passed-over titles per liked one; simulated, 2 rank .004 AUC worse, 8 the same
    min_events: int = 10  # below, /api/v1/lora/train answers 400, as the original does
    batch: int = 16  # users the job trains together: .7 ms each; one alone takes 2.1, of 64 each .8 (beyond the cache)


@dataclass(frozen=True, slots=True)
class PatternSettings:
    """The ReasoningBank and its maintenance."""

    max_age_s: float = 60.0  # how long an instance may go on with patterns it has read
    capacity: int = 10_000  # patterns in the bank and in every instance: searched in a quarter of a millisecond
    min_similarity: float = 0.7  # below, a pattern is about something else
    prune_below: float = 0.3  # as specified
    merge_above: float = 0.95  # as specified
    per_cluster: int = 6  # sessions that share a pattern, on average
    outcome_s: float = 86_400.0  # after an answer, before its applications are counted with how they ended
    kept_days: float = 90.0  # sessions behind the patterns; they are about persons
    maintenance: str = "daily"  # what the job does: daily or weekly


@dataclass(frozen=True, slots=True)
class EmbeddingSettings:
    """The text encoder."""

    threads: int = 1  # of the encoder per run; a function shares its cores with other requests, a job may take them all
    page: int = 128  # titles between two writes of the job: enough to sort by length, two seconds of work to lose
    weights: str = ""  # folder with the published weights, where no installed package brings them


@dataclass(frozen=True, slots=True)
class RouterSettings:
    """Language models to choose among, a JSON list: cost of an answer in the budget's unit, its usual latency, and the
    share of good answers to the easiest and the hardest queries. Four sizes as examples: put in your own."""

    models: str = (
        '[{"model_id": "nano", "cost": 0.0001, "latency_ms": 150, "accuracy_easy": 0.88, "accuracy_hard": 0.45},'
        ' {"model_id": "small", "cost": 0.0005, "latency_ms": 350, "accuracy_easy": 0.92, "accuracy_hard": 0.62},'
        ' {"model_id": "medium", "cost": 0.003, "latency_ms": 900, "accuracy_easy": 0.94, "accuracy_hard": 0.78},'
        ' {"model_id": "large", "cost": 0.015, "latency_ms": 2500, "accuracy_easy": 0.95, "accuracy_hard": 0.9}]'
    )


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """Calls of one caller to one route; a burst is what may come at once after a pause."""

    enabled: bool = True
    read_per_minute: float = 1200.0  # no person asks twenty times a second; a loop does
    read_burst: int = 200
    write_per_minute: float = 600.0  # calls, each with up to 500 events
    write_burst: int = 100
    train_per_minute: float = 2.0  # a training costs milliseconds of a core and a transaction
    train_burst: int = 5
    service_factor: float = 100.0  # a service speaks for many users


@dataclass(frozen=True, slots=True)
class PrivacySettings:
    """How long personal data is kept, and under which names."""

    # Secrets of at least 32 bytes, separated by commas, the one in use first: names of users where their ids must not
    # be, in the hot store and in the tombstones of the erased. Without one nobody can be erased.
    keys: str = ""
    events_kept_days: float = 400.0  # a year and a season; older ones live on in the state alone. 0: kept for ever
    rejected_kept_days: float = 31.0  # events that could not be read; as long as dead letters
    dead_letters: str = ""  # subscriptions, separated by commas, that an erasure looks through and `redeliver` empties


@dataclass(frozen=True, slots=True)
class TelemetrySettings:
    """What is measured, and where it goes."""

    exporter: str = ""  # otlp (a collector), google (its Telemetry API) or nothing: OpenTelemetry is never imported
    endpoint: str = ""  # takes OTLP over HTTP: http://localhost:4318 for a sidecar, https://telemetry.googleapis.com
    service: str = "sona"  # name of what measures; Cloud Run gives each of its services and jobs theirs
    region: str = ""  # where it runs; Google's Telemetry API asks for it
    interval_s: float = 60.0  # between two exports of the measurements
    trace_share: float = 0.05  # of requests that are traced, unless the caller has decided
    decisions: bool = False  # log what each answer was made of; a line of two kilobytes per answer


@dataclass(frozen=True, slots=True)
class JobSettings:
    """This task's place in a job."""

    task_index: int = 0  # of a Cloud Run job, which sets CLOUD_RUN_TASK_INDEX
    task_count: int = 1  # CLOUD_RUN_TASK_COUNT


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that an instance is told; frozen, so that it can be shared and be part of keys."""

    edition: str = "cloud"  # "laptop" only in the embedded edition: allows its token signer
    log_level: str = "INFO"
    cache_dir: str = "/tmp/sona"  # snapshots and models; memory on Cloud Run, sized for two snapshots
    snapshot_max_age_s: float = 30.0  # how long an instance may serve before it looks at the active pointer
    snapshot_max_mib: int = 300  # what is published; two must fit into an instance's /tmp, which is memory
    max_body_bytes: int = 262_144  # request bodies
    request_deadline_s: float = 1.0  # stores hold an answer no longer; what they have not given is named in `degraded`
    answer_ttl_s: float = 0.0  # how long an answer may be given again to a viewer who has done nothing since; 0: never
    impressions: bool = True  # publish what was shown (best effort)
    stores: StoreSettings = field(default_factory=StoreSettings)
    auth: AuthSettings = field(default_factory=AuthSettings)
    ranking: RankingSettings = field(default_factory=RankingSettings)
    adaptation: AdaptationSettings = field(default_factory=AdaptationSettings)
    patterns: PatternSettings = field(default_factory=PatternSettings)
    embedding: EmbeddingSettings = field(default_factory=EmbeddingSettings)
    router: RouterSettings = field(default_factory=RouterSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    privacy: PrivacySettings = field(default_factory=PrivacySettings)
    telemetry: TelemetrySettings = field(default_factory=TelemetrySettings)
    job: JobSettings = field(default_factory=JobSettings)


@dataclass(frozen=True, slots=True)
class SearchClientSettings:
    """How a search service asks for personalization; the specification's names, DISCOVERY_PERSONALIZATION_..."""

    sona_url: str = ""  # of the recommend function or the load balancer before it; empty: results stay as they are
    boost_weight: float = 0.25  # w of callers that name no variant
    timeout_ms: float = 50.0  # for everything; later the results stay as they are
    cache_ttl_sec: float = 300.0
    enabled: bool = True


# Variables that Cloud Run sets under names of its own; ours win.
_CLOUD_RUN = {
    "CLOUD_RUN_TASK_INDEX": "SONA_JOB_TASK_INDEX",
    "CLOUD_RUN_TASK_COUNT": "SONA_JOB_TASK_COUNT",
    "K_SERVICE": "SONA_TELEMETRY_SERVICE",
    "CLOUD_RUN_JOB": "SONA_TELEMETRY_SERVICE",
}

_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off"}


def _convert(name: str, value: Any, kind: type) -> Any:
    try:
        if kind is bool and isinstance(value, str):
            if value.lower() not in _TRUE | _FALSE:
                raise ValueError(value)
            return value.lower() in _TRUE
        if kind is bool and not isinstance(value, bool):
            raise ValueError(value)
        return kind(value)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{name} must be {kind.__name__}, not {value!r}") from error


def _build(kind: Any, prefix: str, table: Mapping[str, Any], environ: Mapping[str, str]) -> Any:
    hints = get_type_hints(kind)
    unknown = set(table) - set(hints)
    if unknown:
        raise ConfigurationError(f"unknown settings in the configuration file: {', '.join(sorted(unknown))}")
    values: dict[str, Any] = {}
    for item in fields(kind):
        name, hint = f"{prefix}_{item.name.upper()}", hints[item.name]
        if is_dataclass(hint):
            values[item.name] = _build(hint, name, table.get(item.name, {}), environ)
        elif name in environ:
            values[item.name] = _convert(name, environ[name], hint)
        elif item.name in table:
            values[item.name] = _convert(name, table[item.name], hint)
    return kind(**values)


def _refuse_unknown(environ: Mapping[str, str]) -> None:
    """A misspelt variable would change nothing and say nothing. Outside of sections there are others': SONA_HOME."""
    known = environment_names()
    sections = tuple(f"SONA_{name.upper()}_" for name, hint in get_type_hints(Settings).items() if is_dataclass(hint))
    for name in sorted(set(environ) - set(known)):
        if name.startswith(sections):
            from difflib import get_close_matches

            nearest = get_close_matches(name, known, n=1)
            hint = f"; is it {nearest[0]}?" if nearest else ""
            raise ConfigurationError(f"{name} is the name of no setting{hint}")


def read_settings(environ: Mapping[str, str] | None = None, config: Path | None = None) -> Settings:
    """Settings from an environment (default: this process's) and a TOML file (default: the one SONA_CONFIG names).

    Raises ConfigurationError naming what is wrong.
    """
    environ = os.environ if environ is None else environ
    environ = {ours: environ[theirs] for theirs, ours in _CLOUD_RUN.items() if theirs in environ} | dict(environ)
    _refuse_unknown(environ)
    path = config or environ.get("SONA_CONFIG")
    table: dict[str, Any] = {}
    if path:
        try:
            table = tomllib.loads(Path(path).read_text())
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise ConfigurationError(f"configuration file {path}: {error}") from error
    read: Settings = _build(Settings, "SONA", table, environ)
    if read.auth.local_secret_file and read.edition != "laptop":
        raise ConfigurationError("SONA_AUTH_LOCAL_SECRET_FILE is for the laptop edition only")
    return read


def read_search_client_settings(environ: Mapping[str, str] | None = None) -> SearchClientSettings:
    """The settings of a search service that asks SONA. Raises ConfigurationError naming what is wrong."""
    environ = os.environ if environ is None else environ
    read: SearchClientSettings = _build(SearchClientSettings, "DISCOVERY_PERSONALIZATION", {}, environ)
    return read


def listed(names: str) -> tuple[str, ...]:
    """The names in a setting that holds several, separated by commas."""
    return tuple(name.strip() for name in names.split(",") if name.strip())


@cache
def settings() -> Settings:
    """This process's settings, read once."""
    return read_settings()


def environment_names(kind: Any = Settings, prefix: str = "SONA") -> list[str]:
    """Every variable that is read, for the deployment's checks."""
    hints = get_type_hints(kind)
    names: list[str] = []
    for item in fields(kind):
        name = f"{prefix}_{item.name.upper()}"
        names += environment_names(hints[item.name], name) if is_dataclass(hints[item.name]) else [name]
    return names
