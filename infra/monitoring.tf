# Who is told, what is promised, and what alerts. The measurements are those of core/telemetry.py, which the functions
# export themselves: Google's Telemetry API keeps a metric as prometheus.googleapis.com/<name>/<kind> of the resource
# prometheus_target, whose label `job` is the Cloud Run service. What Google's own services measure bears their prefixes.
locals {
  # Name -> kind; tests hold it to core/telemetry.py.
  metrics = {
    "sona.request.duration"  = "histogram"
    "sona.stage.duration"    = "histogram"
    "sona.strategy.duration" = "histogram"
    "sona.cache"             = "counter"
    "sona.degraded"          = "counter"
    "sona.bugs"              = "counter"
    "sona.answers"           = "counter"
    "sona.patterns"          = "counter"
    "sona.feedback"          = "counter"
    "sona.events"            = "counter"
    "sona.queue.age"         = "histogram"
    "sona.adaptations"       = "counter"
    "sona.snapshot.age"      = "gauge"
  }

  told = {
    for name, kind in local.metrics :
    name => "metric.type=\"prometheus.googleapis.com/${name}/${kind}\" AND resource.type=\"prometheus_target\""
  }

  pushes        = "resource.type=\"pubsub_subscription\" AND resource.labels.subscription_id=one_of(\"${join("\",\"", keys(local.pushed))}\")"
  unread        = "resource.type=\"pubsub_subscription\" AND resource.labels.subscription_id=starts_with(\"dead-letters-\")"
  recommend     = "resource.type=\"cloud_run_revision\" AND resource.labels.service_name=\"${module.function["recommend"].service}\""
  executions    = "metric.type=\"run.googleapis.com/job/completed_execution_count\" AND resource.type=\"cloud_run_job\""
  redis_memory  = "metric.type=\"redis.googleapis.com/stats/memory/usage_ratio\" AND resource.type=\"redis_instance\""
  sql_instance  = "resource.type=\"cloudsql_database\" AND resource.labels.database_id=\"${var.project_id}:${google_sql_database_instance.cold.name}\""
  notifications = concat([for channel in google_monitoring_notification_channel.email : channel.name], tolist(var.notification_channels))
}

resource "google_monitoring_notification_channel" "email" {
  for_each = var.alert_emails

  display_name = "SONA: ${each.key}"
  type         = "email"
  labels       = { email_address = each.key }

  depends_on = [google_project_service.this]
}

# The promise is about `recommend`: every page of the platform waits for it.
resource "google_monitoring_custom_service" "recommend" {
  service_id   = "sona-recommend"
  display_name = "SONA recommendations"

  depends_on = [google_project_service.this]
}

# 99.9 % in four weeks is 40 minutes without answers. What stands behind an answer fails more often than that (Memorystore
# promises 99.9 % alone), but every part may be missing from an answer. Counted by Cloud Run, which also knows of
# requests that no instance ever saw.
resource "google_monitoring_slo" "availability" {
  service             = google_monitoring_custom_service.recommend.service_id
  slo_id              = "availability"
  display_name        = "99.9 % of the calls get an answer"
  goal                = 0.999
  rolling_period_days = 28

  request_based_sli {
    good_total_ratio {
      total_service_filter = "metric.type=\"run.googleapis.com/request_count\" AND ${local.recommend}"
      bad_service_filter   = "metric.type=\"run.googleapis.com/request_count\" AND ${local.recommend} AND metric.labels.response_code_class=\"5xx\""
    }
  }
}

# An answer takes 3 to 4 ms of CPU and a round trip to Memorystore; 100 ms is what a page can wait for without showing
# it, and a limit between two of the histogram's buckets. 1 % is left to cold starts and to new snapshots.
resource "google_monitoring_slo" "latency" {
  service             = google_monitoring_custom_service.recommend.service_id
  slo_id              = "latency"
  display_name        = "99 % of the recommendations take less than 100 ms"
  goal                = 0.99
  rolling_period_days = 28

  request_based_sli {
    distribution_cut {
      distribution_filter = "${local.told["sona.request.duration"]} AND metric.labels.path=\"/api/v1/recommendations\" AND metric.labels.status=\"200\""

      range {
        max = 100
      }
    }
  }
}

# Alerts on the speed at which an error budget is spent, each over a long window, so that it matters, and a short one,
# so that it is still going on (Site Reliability Workbook, chapter 5): at 14.4 times the sustainable speed an hour costs
# 2 % of the budget, at 6 times six hours cost 5 %, at 3 times a day costs 10 %.
locals {
  burns = {
    fast   = { speed = 14.4, long = "3600s", short = "300s", severity = "CRITICAL" }
    steady = { speed = 6, long = "21600s", short = "1800s", severity = "CRITICAL" }
    slow   = { speed = 3, long = "86400s", short = "7200s", severity = "WARNING" }
  }
  promises = {
    availability = google_monitoring_slo.availability
    latency      = google_monitoring_slo.latency
  }
  budget_alerts = merge([
    for promise in keys(local.promises) : { for pace, burn in local.burns : "${promise}-${pace}" => merge(burn, { promise = promise }) }
  ]...)
}

resource "google_monitoring_alert_policy" "budget" {
  for_each = local.budget_alerts

  display_name          = "SONA ${each.value.promise}: the error budget burns ${each.value.speed} times too fast"
  combiner              = "AND"
  severity              = each.value.severity
  notification_channels = local.notifications

  dynamic "conditions" {
    for_each = [each.value.long, each.value.short]
    content {
      display_name = "over ${conditions.value}"

      condition_threshold {
        filter          = "select_slo_burn_rate(\"${local.promises[each.value.promise].name}\", \"${conditions.value}\")"
        comparison      = "COMPARISON_GT"
        threshold_value = each.value.speed
        duration        = "0s"
      }
    }
  }

  documentation {
    content = "Look at the dashboard SONA: which path, stage or strategy is slow, which part is degraded, whether a release has just begun (infra/rollout.py takes its traffic back by itself)."
  }
}

locals {
  # What else somebody should know. `over`: for which time values are taken together; `lasting`: how long it must last;
  # `out_of`: a second series, of which the share counts.
  alerts = {
    dead_letters = {
      title    = "messages that were given up"
      filter   = "metric.type=\"pubsub.googleapis.com/subscription/num_undelivered_messages\" AND ${local.unread}"
      show     = "max", per = ["resource.labels.subscription_id"], over = "60s", above = 0, lasting = "0s"
      severity = "CRITICAL"
      why      = "Delivered a hundred times in vain: an event is about to be lost. They stay for 31 days; repair the cause, then run `sona redeliver`."
    }
    queue_age = {
      title    = "events wait"
      filter   = "metric.type=\"pubsub.googleapis.com/subscription/oldest_unacked_message_age\" AND ${local.pushes}"
      show     = "max", per = ["resource.labels.subscription_id"], over = "60s", above = 300, lasting = "300s"
      severity = "CRITICAL"
      why      = "Events are learned from within seconds. Five minutes that last mean that the function fails or has too few instances; retries alone wait up to ten."
    }
    late_events = {
      title    = "events are learned from late"
      filter   = local.told["sona.queue.age"]
      show     = "p95", per = ["metric.labels.queue"], over = "300s", above = 60, lasting = "600s"
      severity = "WARNING"
      why      = "A minute from publication to ingest for one event in twenty: viewers see answers that do not know what they have just done."
    }
    bugs = {
      title    = "an error that nobody foresaw"
      filter   = local.told["sona.bugs"]
      show     = "sum", per = ["metric.labels.path"], over = "300s", above = 0, lasting = "0s"
      severity = "ERROR"
      why      = "The log holds the traceback: severity ERROR, message \"unexpected error\". The caller got a 503."
    }
    degraded = {
      title    = "answers lack a part"
      filter   = local.told["sona.degraded"]
      out_of   = local.told["sona.answers"]
      show     = "rate", per = [], over = "300s", above = 0.05, lasting = "600s"
      severity = "WARNING"
      why      = "One answer in twenty is worse than it could be. The dashboard says which part; a store that restarts is back within that time."
    }
    snapshot_age = {
      title    = "the catalogue is old"
      filter   = local.told["sona.snapshot.age"]
      show     = "max", per = [], over = "600s", above = 108000, lasting = "600s"
      severity = "WARNING"
      why      = "A snapshot is built every night, so 24 hours and the two that building may take are usual; at 30 a night was missed. Look at the job sona-publish-snapshot."
    }
    job_failed = {
      title    = "a job failed"
      filter   = "${local.executions} AND metric.labels.result=\"failed\""
      show     = "sum", per = ["resource.labels.job_name"], over = "600s", above = 0, lasting = "0s"
      severity = "ERROR"
      why      = "After all its retries. Jobs may be started again at any time: what is done is not done twice."
    }
    rolled_back = {
      title    = "adaptations are mostly rolled back"
      filter   = "${local.told["sona.adaptations"]} AND metric.labels.verdict=\"rolled_back\""
      out_of   = "${local.told["sona.adaptations"]} AND metric.labels.verdict=one_of(\"accepted\",\"rolled_back\")"
      show     = "rate", per = [], over = "3600s", above = 0.5, lasting = "3600s"
      severity = "WARNING"
      why      = "The gate turns single updates down; most of them for two hours means that training itself does harm: a new generation, other titles, wrong events."
    }
    redis_memory = {
      title    = "Memorystore is nearly full"
      filter   = local.redis_memory
      show     = "max", per = [], over = "300s", above = 0.9, lasting = "900s"
      severity = "WARNING"
      why      = "When it is full the least used users fall back to Cloud SQL, one read each: no loss, but load. Raise redis_memory_gb."
    }
    sql_connections = {
      title    = "Cloud SQL runs out of connections"
      filter   = "metric.type=\"cloudsql.googleapis.com/database/postgresql/num_backends\" AND ${local.sql_instance}"
      show     = "total", per = [], over = "60s", above = floor(0.8 * var.sql_max_connections), lasting = "300s"
      severity = "ERROR"
      why      = "The plan keeps all pools together below the limit, so four fifths mean connections that are not ours, or are not given back."
    }
    sql_cpu = {
      title    = "Cloud SQL is busy"
      filter   = "metric.type=\"cloudsql.googleapis.com/database/cpu/utilization\" AND ${local.sql_instance}"
      show     = "max", per = [], over = "300s", above = 0.8, lasting = "900s"
      severity = "WARNING"
      why      = "Beyond four fifths transactions queue, and events with them. Query Insights says which statement; raise sql_tier."
    }
  }
}

resource "google_monitoring_alert_policy" "this" {
  for_each = local.alerts

  display_name          = "SONA: ${each.value.title}"
  combiner              = "OR"
  severity              = each.value.severity
  notification_channels = local.notifications

  conditions {
    display_name = each.value.title

    condition_threshold {
      filter             = each.value.filter
      denominator_filter = try(each.value.out_of, null)
      comparison         = "COMPARISON_GT"
      threshold_value    = each.value.above
      duration           = each.value.lasting

      aggregations {
        alignment_period     = each.value.over
        per_series_aligner   = local.shows[each.value.show].aligner
        cross_series_reducer = local.shows[each.value.show].reducer
        group_by_fields      = each.value.per
      }

      dynamic "denominator_aggregations" {
        for_each = can(each.value.out_of) ? [local.shows[each.value.show]] : []
        content {
          alignment_period     = each.value.over
          per_series_aligner   = denominator_aggregations.value.aligner
          cross_series_reducer = denominator_aggregations.value.reducer
        }
      }
    }
  }

  documentation {
    content = each.value.why
  }

  depends_on = [google_project_service.this]
}
