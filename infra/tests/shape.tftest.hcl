# The shape that the specification asks for, and that the parts fit each other.
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
    condition     = toset(keys(google_storage_bucket.this)) == toset(["models", "snapshots", "embeddings", "artifacts", "source"])
    error_message = "There are five buckets."
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
