# A job that never starts does not fail. adapt_users is due every hour, so its silence says that Cloud Scheduler starts
# nothing any more. embed_catalog's and publish_snapshot's own silence shows as an old snapshot a day later, that of
# maintain_patterns is watched below; train_base is due once a week, further back than an alert can look.
resource "google_monitoring_alert_policy" "silence" {
  display_name          = "SONA: no job has been started"
  combiner              = "OR"
  severity              = "ERROR"
  notification_channels = local.notifications

  conditions {
    display_name = "adapt_users has not succeeded for three hours"

    condition_absent {
      filter   = "${local.executions} AND metric.labels.result=\"succeeded\" AND resource.labels.job_name=\"${module.job["adapt_users"].name}\""
      duration = "10800s"

      aggregations {
        alignment_period     = "600s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_SUM"
      }
    }
  }

  documentation {
    content = "Look at Cloud Scheduler: the identity sona-scheduler must be allowed to run the jobs."
  }

  depends_on = [google_project_service.this]
}

# maintain_patterns keeps a promise to people: events go when they are too old. It is due once a day, and an absence may
# last 23.5 hours at most. So the runs of the last 25 hours, the longest that an alert may count over, are counted: fewer
# than one for two hours, whether the count is zero or there is nothing to count.
resource "google_monitoring_alert_policy" "retention" {
  display_name          = "SONA: old events have not been dropped"
  combiner              = "OR"
  severity              = "ERROR"
  notification_channels = local.notifications

  conditions {
    display_name = "maintain_patterns has not succeeded for a day"

    condition_threshold {
      filter                  = "${local.executions} AND metric.labels.result=\"succeeded\" AND resource.labels.job_name=\"${module.job["maintain_patterns"].name}\""
      comparison              = "COMPARISON_LT"
      threshold_value         = 1
      duration                = "7200s"
      evaluation_missing_data = "EVALUATION_MISSING_DATA_ACTIVE"

      aggregations {
        alignment_period     = "90000s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_SUM"
      }
    }
  }

  documentation {
    content = "The job sona-maintain-patterns drops events older than SONA_PRIVACY_EVENTS_KEPT_DAYS and keeps the pattern bank. Start it by hand (it needs a snapshot), then look why Cloud Scheduler did not, or why it failed."
  }

  depends_on = [google_project_service.this]
}
