# Somebody is told of what matters, and the dashboard shows it.
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

run "alerts_reach_everybody_named" {
  command = plan

  variables {
    alert_emails          = ["oncall@example.com"]
    notification_channels = ["projects/demo-project/notificationChannels/42"]
  }

  override_resource {
    target          = google_monitoring_notification_channel.email
    override_during = plan
    values          = { name = "projects/demo-project/notificationChannels/7" }
  }

  assert {
    condition = alltrue([
      for policy in concat(values(google_monitoring_alert_policy.this), values(google_monitoring_alert_policy.budget), [google_monitoring_alert_policy.silence, google_monitoring_alert_policy.retention]) :
      toset(policy.notification_channels) == toset(["projects/demo-project/notificationChannels/7", "projects/demo-project/notificationChannels/42"])
    ])
    error_message = "An alert tells nobody, or not everybody."
  }

  assert {
    condition     = google_monitoring_notification_channel.email["oncall@example.com"].type == "email"
    error_message = "An address is told by e-mail."
  }
}

run "thresholds_follow_the_sizes" {
  command = plan

  variables {
    sql_max_connections = 500
  }

  assert {
    condition     = google_monitoring_alert_policy.this["sql_connections"].conditions[0].condition_threshold[0].threshold_value == 400
    error_message = "Connections are scarce from four fifths of sql_max_connections on."
  }

  assert {
    condition = alltrue([
      for name in ["dead_letters", "bugs", "job_failed"] :
      google_monitoring_alert_policy.this[name].conditions[0].condition_threshold[0].threshold_value == 0
      && google_monitoring_alert_policy.this[name].conditions[0].condition_threshold[0].comparison == "COMPARISON_GT"
    ])
    error_message = "One dead letter, bug or failed job is one too many."
  }

  assert {
    condition = alltrue([
      for name in ["degraded", "rolled_back"] :
      length(google_monitoring_alert_policy.this[name].conditions[0].condition_threshold[0].denominator_aggregations) == 1
      && google_monitoring_alert_policy.this[name].conditions[0].condition_threshold[0].denominator_aggregations[0].alignment_period == google_monitoring_alert_policy.this[name].conditions[0].condition_threshold[0].aggregations[0].alignment_period
    ])
    error_message = "A share needs both series over the same time."
  }

  assert {
    condition     = alltrue([for policy in google_monitoring_alert_policy.this : length(policy.documentation[0].content) > 40])
    error_message = "An alert says what to do."
  }
}

run "a_night_without_retention_is_noticed" {
  command = plan

  assert {
    condition = alltrue([
      for condition in google_monitoring_alert_policy.retention.conditions[0].condition_threshold :
      condition.comparison == "COMPARISON_LT" && condition.threshold_value == 1
      && condition.evaluation_missing_data == "EVALUATION_MISSING_DATA_ACTIVE"
      && strcontains(condition.filter, "job_name=\"sona-maintain-patterns\"") && strcontains(condition.filter, "result=\"succeeded\"")
      # Longer than the day between two runs, no longer than an alert may count over; and it must last to be believed.
      && condition.aggregations[0].alignment_period == "90000s" && condition.duration == "7200s"
    ])
    error_message = "Nobody would notice that events outlive their time."
  }
}

run "error_budgets_are_watched_over_two_windows" {
  command = plan

  assert {
    condition     = google_monitoring_slo.availability.goal == 0.999 && google_monitoring_slo.latency.goal == 0.99 && google_monitoring_slo.latency.request_based_sli[0].distribution_cut[0].range[0].max == 100
    error_message = "99.9 % of the calls get an answer, 99 % of the recommendations take less than 100 ms."
  }

  assert {
    condition     = length(google_monitoring_alert_policy.budget) == 6 && alltrue([for policy in google_monitoring_alert_policy.budget : policy.combiner == "AND" && length(policy.conditions) == 2])
    error_message = "Both promises are watched at three speeds, each over a long and a short window."
  }
}

run "the_dashboard_is_one_grid" {
  command = plan

  assert {
    condition = alltrue([
      for tile in jsondecode(google_monitoring_dashboard.sona.dashboard_json).mosaicLayout.tiles :
      tile.xPos + tile.width <= 48 && length(tile.widget.xyChart.dataSets) > 0
    ])
    error_message = "A chart is empty or outside of the grid."
  }

  assert {
    condition     = length(distinct([for tile in jsondecode(google_monitoring_dashboard.sona.dashboard_json).mosaicLayout.tiles : "${tile.xPos} ${tile.yPos}"])) == length(local.tiles)
    error_message = "Two charts share a place."
  }
}

run "every_workload_may_export_and_does" {
  command = plan

  assert {
    condition     = alltrue([for name, function in module.function : toset(function.telemetry_roles) == toset(["roles/serviceusage.serviceUsageConsumer", "roles/telemetry.writer"])]) && alltrue([for name, job in module.job : length(job.telemetry_roles) == 2])
    error_message = "A workload would be refused by the Telemetry API."
  }

  assert {
    condition     = local.environment["SONA_TELEMETRY_EXPORTER"] == "google" && local.environment["SONA_TELEMETRY_REGION"] == var.region
    error_message = "Nothing would be exported, or points without a place refused."
  }

  assert {
    condition     = contains(local.deploy_roles, "roles/monitoring.editor")
    error_message = "A release could not change alerts."
  }
}

run "without_telemetry_nothing_is_granted" {
  command = plan

  variables {
    telemetry = false
  }

  assert {
    condition     = alltrue([for function in module.function : length(function.telemetry_roles) == 0]) && !can(local.environment["SONA_TELEMETRY_EXPORTER"])
    error_message = "Switched off, no workload needs rights for it."
  }
}

run "an_address_is_an_address" {
  command = plan

  variables {
    alert_emails = ["on call"]
  }

  expect_failures = [var.alert_emails]
}

run "a_channel_is_named_in_full" {
  command = plan

  variables {
    notification_channels = ["pager"]
  }

  expect_failures = [var.notification_channels]
}

run "the_way_in_is_watched_from_outside" {
  command = plan

  variables {
    domain = "api.example.com"
  }

  assert {
    condition     = google_monitoring_uptime_check_config.edge[0].http_check[0].validate_ssl && google_monitoring_uptime_check_config.edge[0].monitored_resource[0].labels["host"] == var.domain && length(google_monitoring_alert_policy.edge) == 1
    error_message = "Nobody would notice an expired certificate."
  }
}
