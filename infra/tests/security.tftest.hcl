# What must not happen, whatever else changes: something public, something unprotected, a password, a broad role.
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

run "nothing_is_public_without_a_load_balancer" {
  command = plan

  variables {
    callers = ["serviceAccount:web@demo-project.iam.gserviceaccount.com"]
  }

  override_resource {
    target          = google_service_account.deploy
    override_during = plan
    values          = { email = "sona-deploy@demo-project.iam.gserviceaccount.com" }
  }

  override_resource {
    target          = google_service_account.push
    override_during = plan
    values          = { email = "sona-push@demo-project.iam.gserviceaccount.com" }
  }

  assert {
    condition     = alltrue([for function in module.function : !contains(function.invokers, "allUsers")])
    error_message = "allUsers may call a function although there is no load balancer."
  }

  assert {
    condition     = alltrue([for function in module.function : !contains(function.invokers, "allAuthenticatedUsers")])
    error_message = "Any Google account may call a function."
  }

  assert {
    condition = alltrue([
      for name in ["ingest", "adapt"] :
      join(",", module.function[name].invokers) == "serviceAccount:sona-push@demo-project.iam.gserviceaccount.com"
      && module.function[name].ingress == "ALLOW_INTERNAL_ONLY"
    ])
    error_message = "Somebody but Pub/Sub may push events."
  }

  assert {
    condition     = contains(module.function["recommend"].invokers, "serviceAccount:web@demo-project.iam.gserviceaccount.com")
    error_message = "A named caller may not call."
  }

  assert {
    condition     = length(google_compute_global_forwarding_rule.edge) == 0 && length(google_compute_backend_service.edge) == 0
    error_message = "There is a load balancer without a domain."
  }
}

run "with_a_load_balancer_only_it_leads_in" {
  command = plan

  variables {
    domain = "api.example.com"
  }

  override_resource {
    target          = google_service_account.deploy
    override_during = plan
    values          = { email = "sona-deploy@demo-project.iam.gserviceaccount.com" }
  }

  override_resource {
    target          = google_service_account.push
    override_during = plan
    values          = { email = "sona-push@demo-project.iam.gserviceaccount.com" }
  }

  assert {
    condition = alltrue([
      for name, function in module.function :
      contains(function.invokers, "allUsers") == local.functions[name].edge && function.ingress != "ALLOW_ALL"
    ])
    error_message = "Only what the load balancer serves may be called without IAM, and only through it."
  }

  assert {
    condition     = alltrue([for name in ["ingest", "adapt", "patterns"] : !contains(module.function[name].invokers, "allUsers")])
    error_message = "An internal function is public."
  }

  assert {
    condition     = alltrue([for service in google_compute_backend_service.edge : service.load_balancing_scheme == "EXTERNAL_MANAGED" && service.cdn_policy[0].cache_mode == "USE_ORIGIN_HEADERS"])
    error_message = "The CDN may keep only what an answer itself declares public."
  }

  assert {
    condition     = google_compute_ssl_policy.edge[0].min_tls_version == "TLS_1_2" && google_compute_global_forwarding_rule.edge[0].port_range == "443"
    error_message = "The edge must speak TLS 1.2 or newer on 443 only."
  }

  assert {
    condition     = anytrue([for rule in google_compute_security_policy.edge[0].rule : try(rule.action == "throttle" && rule.rate_limit_options[0].rate_limit_threshold[0].count == var.rate_limit_per_minute, false)])
    error_message = "Cloud Armor must limit the rate per address."
  }
}

run "data_is_private_and_protected" {
  command = plan

  assert {
    condition     = alltrue([for bucket in google_storage_bucket.this : bucket.public_access_prevention == "enforced" && bucket.uniform_bucket_level_access && bucket.versioning[0].enabled && !bucket.force_destroy])
    error_message = "A bucket is not private, not versioned or may be deleted with its content."
  }

  assert {
    condition     = alltrue(flatten([for bucket in google_storage_bucket.this : [for rule in bucket.lifecycle_rule : rule.condition[0].with_state == "ARCHIVED"]]))
    error_message = "A lifecycle rule would delete live objects."
  }

  assert {
    condition = (
      !google_sql_database_instance.cold.settings[0].ip_configuration[0].ipv4_enabled
      && google_sql_database_instance.cold.settings[0].ip_configuration[0].ssl_mode == "TRUSTED_CLIENT_CERTIFICATE_REQUIRED"
      && google_sql_database_instance.cold.settings[0].connector_enforcement == "REQUIRED"
    )
    error_message = "Cloud SQL has a public address or accepts connections without a certificate."
  }

  assert {
    condition     = alltrue([for user in google_sql_user.workload : user.type == "CLOUD_IAM_SERVICE_ACCOUNT" && user.password == null])
    error_message = "A database user has a password."
  }

  assert {
    condition     = [for name, user in google_sql_user.workload : name if user.database_roles != null] == ["migrate"]
    error_message = "Only the migration may change the schema."
  }

  assert {
    condition = (
      google_sql_database_instance.cold.deletion_protection
      && google_sql_database_instance.cold.settings[0].deletion_protection_enabled
      && google_sql_database_instance.cold.settings[0].availability_type == "REGIONAL"
      && google_sql_database_instance.cold.settings[0].backup_configuration[0].point_in_time_recovery_enabled
      && google_sql_database_instance.cold.settings[0].backup_configuration[0].transaction_log_retention_days == 7
    )
    error_message = "Cloud SQL in prod must be protected, replicated and restorable to any moment of a week."
  }

  assert {
    condition = (
      google_redis_instance.hot.tier == "STANDARD_HA"
      && google_redis_instance.hot.auth_enabled
      && google_redis_instance.hot.transit_encryption_mode == "SERVER_AUTHENTICATION"
      && google_redis_instance.hot.connect_mode == "PRIVATE_SERVICE_ACCESS"
      && google_redis_instance.hot.deletion_protection
    )
    error_message = "Memorystore in prod must have a replica, AUTH, TLS and a private address."
  }

  assert {
    condition     = alltrue([for secret in google_secret_manager_secret.this : secret.deletion_protection]) && google_secret_manager_secret.privacy_keys.deletion_protection
    error_message = "A secret may be deleted."
  }
}

run "nobody_has_a_broad_role" {
  command = plan

  assert {
    condition = alltrue([
      for role in local.deploy_roles : !contains(["roles/owner", "roles/editor", "roles/viewer"], role)
    ])
    error_message = "A primitive role is granted."
  }

  assert {
    condition     = length(setintersection(local.workload_roles, local.deploy_roles)) == 0 && strcontains(google_project_iam_member.deploy_grants.condition[0].expression, "hasOnly([\"roles/cloudsql.client\",\"roles/cloudsql.instanceUser\",\"roles/serviceusage.serviceUsageConsumer\",\"roles/telemetry.writer\"])")
    error_message = "The deploying identity could grant itself or others more than workloads need."
  }
}

run "the_operator_works_with_data_and_with_nothing_else" {
  command = plan

  override_resource {
    target          = google_service_account.operator
    override_during = plan
    values          = { email = "sona-operator@demo-project.iam.gserviceaccount.com" }
  }

  assert {
    condition     = google_sql_user.workload["operator"].name == "sona-operator@demo-project.iam" && local.sql_users["operator"] == google_sql_user.workload["operator"].name
    error_message = "Cloud SQL knows the operator by another name."
  }

  assert {
    condition     = contains(split(",", local.sql_rights["write"]), "sona-operator@demo-project.iam") && google_sql_user.workload["operator"].database_roles == null
    error_message = "The operator writes rows and leaves the schema alone."
  }

  assert {
    condition     = toset(keys(google_secret_manager_secret_iam_member.operator_reads)) == toset(["SONA_PRIVACY_KEYS", "SONA_STORES_REDIS_URL", "SONA_STORES_REDIS_CA_FILE"])
    error_message = "The operator cannot read what the command line needs."
  }

  assert {
    condition     = { for kind, grant in google_storage_bucket_iam_member.operator_writes : kind => grant.role } == { models = "roles/storage.objectUser", snapshots = "roles/storage.objectUser" }
    error_message = "The operator puts encoders and snapshots where they belong, and no code."
  }

  assert {
    condition     = toset(keys(google_pubsub_topic_iam_member.operator_publishes)) == toset(keys(local.topics)) && toset(keys(google_pubsub_subscription_iam_member.operator_reads_dead_letters)) == toset(keys(local.topics))
    error_message = "Dead letters cannot be sent back."
  }

  assert {
    condition = (
      google_compute_firewall.operator_shell.source_ranges == toset(["35.235.240.0/20"])
      && google_compute_firewall.operator_shell.target_service_accounts == toset(["sona-operator@demo-project.iam.gserviceaccount.com"])
    )
    error_message = "A shell is reached through Identity-Aware Proxy only, and only on operators' machines."
  }
}

run "named_platforms_publish_interactions_and_nothing_else" {
  command = plan

  variables {
    publishers = ["serviceAccount:player@media-platform.iam.gserviceaccount.com"]
  }

  assert {
    condition = (
      [for grant in google_pubsub_topic_iam_member.platforms_publish : "${grant.member} ${grant.role}"]
      == ["serviceAccount:player@media-platform.iam.gserviceaccount.com roles/pubsub.publisher"]
    )
    error_message = "A named platform may not publish, or may do more."
  }
}

run "nobody_publishes_anonymously" {
  command = plan

  variables {
    publishers = ["allAuthenticatedUsers"]
  }

  expect_failures = [var.publishers]
}

run "prod_refuses_a_single_zone_database" {
  command = plan

  variables {
    sql_high_availability = false
  }

  expect_failures = [var.sql_high_availability]
}

run "prod_refuses_a_single_memorystore" {
  command = plan

  variables {
    redis_tier = "BASIC"
  }

  expect_failures = [var.redis_tier]
}

run "prod_refuses_to_be_deletable" {
  command = plan

  variables {
    deletion_protection = false
  }

  expect_failures = [var.deletion_protection]
}

run "a_tag_is_no_image" {
  command = plan

  variables {
    jobs_image = "europe-west1-docker.pkg.dev/demo-project/sona-jobs/jobs:latest"
  }

  expect_failures = [var.jobs_image]
}

run "an_archive_is_named_after_its_content" {
  command = plan

  variables {
    source_object = "source.zip"
  }

  expect_failures = [var.source_object]
}

run "nobody_is_let_in_anonymously" {
  command = plan

  variables {
    callers = ["allUsers"]
  }

  expect_failures = [var.callers]
}

run "tokens_come_from_an_issuer_behind_tls" {
  command = plan

  variables {
    auth = {
      issuer   = "http://issuer.example.com"
      audience = "sona"
      jwks_url = "https://issuer.example.com/jwks"
    }
  }

  expect_failures = [var.auth]
}

run "settings_cannot_undo_what_terraform_decides" {
  command = plan

  variables {
    settings = { SONA_AUTH_PUSH_CHECKED = "true" }
  }

  expect_failures = [var.settings]
}
