# The shape that the specification asks for, and that the parts fit each other.
mock_provider "google" {}

mock_provider "google" {
  alias = "budgets"
}

variables {
  project_id    = "demo-project"
  environment   = "prod"
  source_object = "source-0123456789abcdef.zip"
  jobs_image    = "europe-west1-docker.pkg.dev/demo-project/sona-jobs/jobs@sha256:0000000000000000000000000000000000000000000000000000000000000000"
  auth = {
    issuer   = "https://issuer.example.com"
    audience = "sona"
    jwks_url = "https://issuer.example.com/jwks"
  }
}

run "stores_are_the_specified_ones" {
  command = plan

  assert {
    condition = (
      google_redis_instance.hot.memory_size_gb == 5
      && google_redis_instance.hot.redis_version == "REDIS_7_2"
      && google_redis_instance.hot.redis_configs["maxmemory-policy"] == "allkeys-lfu"
      && google_redis_instance.hot.persistence_config[0].persistence_mode == "RDB"
      && google_redis_instance.hot.persistence_config[0].rdb_snapshot_period == "ONE_HOUR"
    )
    error_message = "Memorystore differs from the specification: 5 GB of Redis 7.2, hourly RDB, least used evicted."
  }

  assert {
    condition     = google_sql_database.lora_adapters.name == "lora_adapters" && google_sql_database_instance.cold.settings[0].edition == "ENTERPRISE"
    error_message = "Adapters live in the database lora_adapters of an ENTERPRISE instance."
  }

  assert {
    condition     = toset(keys(google_storage_bucket.this)) == toset(["models", "snapshots", "source"])
    error_message = "There are three buckets."
  }

  assert {
    condition     = toset(keys(google_pubsub_topic.this)) == toset(["interactions", "adaptation-requests", "dead-letters"])
    error_message = "There are two topics and one for dead letters."
  }

  assert {
    condition     = alltrue([for subscription in google_pubsub_subscription.dead_letters : subscription.message_retention_duration == "2678400s" && strcontains(subscription.filter, "CloudPubSubDeadLetterSourceSubscription")])
    error_message = "Dead letters are kept for 31 days, apart by their source."
  }
}

run "instances_and_connections_fit" {
  command = plan

  assert {
    condition     = local.sql_connections <= var.sql_max_connections - 20
    error_message = "All instances together could open more connections than Cloud SQL has."
  }

  assert {
    condition     = alltrue([for name, function in local.functions : !function.snapshot || function.memory_mib >= local.process_mib + 2 * local.snapshot_mib])
    error_message = "Two snapshots do not fit into an instance."
  }

  assert {
    condition     = local.scale["recommend"].min >= 1 && local.scale["ingest"].min >= 1
    error_message = "prod keeps the request path and the event path warm."
  }
}

run "too_many_instances_are_refused" {
  command = plan

  variables {
    instances = { ingest = { max = 200 } }
  }

  expect_failures = [google_sql_database_instance.cold]
}

run "unknown_functions_are_refused" {
  command = plan

  variables {
    instances = { recomend = { max = 2 } }
  }

  expect_failures = [var.instances]
}

run "dev_is_cheap_and_deletable" {
  command = plan

  variables {
    environment           = "dev"
    deletion_protection   = false
    redis_tier            = "BASIC"
    sql_high_availability = false
  }

  assert {
    condition     = alltrue([for size in local.scale : size.min == 0]) && !google_redis_instance.hot.deletion_protection
    error_message = "dev keeps nothing warm and can be removed."
  }
}

run "what_the_readme_tunes_may_be_set" {
  command = plan

  variables {
    settings = {
      SONA_IMPRESSIONS              = "false"
      SONA_ANSWER_TTL_S             = "30"
      SONA_REQUEST_DEADLINE_S       = "0.5"
      SONA_ROUTER_MODELS            = "[{\"model_id\": \"it's ours\"}]"
      SONA_RANKING_MMR_LAMBDA       = "0.5"
      SONA_PRIVACY_EVENTS_KEPT_DAYS = "30"
      SONA_TELEMETRY_TRACE_SHARE    = "0.01"
      SONA_ADAPTATION_INTERACTIONS  = "3"
      SONA_LIMITS_READ_PER_MINUTE   = "60"
      SONA_PATTERNS_PRUNE_BELOW     = "0.2"
      SONA_SNAPSHOT_MAX_AGE_S       = "60"
      SONA_LOG_LEVEL                = "WARNING"
      SONA_MAX_BODY_BYTES           = "100000"
    }
  }

  assert {
    condition     = alltrue([for name, value in var.settings : local.environment[name] == value])
    error_message = "A workload is not told what was set."
  }
}

run "who_works_by_hand_is_told_what_workloads_are" {
  command = plan

  variables {
    settings = {
      SONA_ROUTER_MODELS         = "[{\"model_id\": \"it's ours\"}]"
      SONA_TELEMETRY_TRACE_SHARE = "0.01"
    }
  }

  override_resource {
    target          = google_sql_database_instance.cold
    override_during = plan
    values          = { connection_name = "demo-project:europe-west1:sona-cold" }
  }

  override_resource {
    target          = google_secret_manager_secret_version.this
    override_during = plan
    values          = { version = "3" }
  }

  assert {
    condition = alltrue([
      for line in [
        "export SONA_EDITION='cloud'",
        "export SONA_STORES_SQL_INSTANCE='demo-project:europe-west1:sona-cold'",
        "export SONA_STORES_SQL_USER='sona-operator@demo-project.iam'",
        "export SONA_PRIVACY_DEAD_LETTERS='dead-letters-adapt,dead-letters-ingest'",
        "export SONA_ROUTER_MODELS='[{\"model_id\": \"it'\\''s ours\"}]'",
        "export SONA_PRIVACY_KEYS=\"$(gcloud secrets versions access 1 --secret=sona-privacy-keys --project=demo-project)\"",
        "export SONA_STORES_REDIS_URL=\"$(gcloud secrets versions access 3 --secret=sona-redis-url --project=demo-project)\"",
        "gcloud secrets versions access 3 --secret=sona-redis-ca --project=demo-project > \"$HOME/sona-ca.pem\"",
        "export SONA_STORES_REDIS_CA_FILE=\"$HOME/sona-ca.pem\"",
      ] : contains(split("\n", output.operator_environment), line)
    ])
    error_message = "The command line would not find a store."
  }

  assert {
    condition     = !strcontains(output.operator_environment, "SONA_TELEMETRY_") && !strcontains(output.operator_environment, "rediss://")
    error_message = "Who works by hand measures nothing, and the script holds no secret."
  }
}

run "the_size_of_snapshots_is_what_instances_were_sized_for" {
  command = plan

  variables {
    settings = { SONA_SNAPSHOT_MAX_MIB = "900" }
  }

  expect_failures = [var.settings]
}

run "a_trigger_waits_for_approval_in_prod" {
  command = plan

  variables {
    repository   = { owner = "example", name = "sona", branch = "main" }
    state_bucket = "demo-project-state"
  }

  assert {
    condition     = google_cloudbuild_trigger.push[0].approval_config[0].approval_required && google_cloudbuild_trigger.push[0].filename == "cloudbuild.yaml"
    error_message = "A push to prod must wait for somebody's approval."
  }
}

run "a_budget_warns" {
  command = plan

  variables {
    budget = { billing_account = "012345-6789AB-CDEF01", amount = 1500 }
  }

  assert {
    condition     = length(google_billing_budget.month[0].threshold_rules) == 4 && google_billing_budget.month[0].amount[0].specified_amount[0].units == "1500"
    error_message = "The budget is announced at 50, 90 and 100 %, and when it is foreseen to be spent."
  }
}
