# What an operator looks at first, from left to right: what callers get, what it is made of, what waits, what learns,
# what it all stands on. One chart a line of `tiles`; sets with `metric` show what the functions export (monitoring.tf),
# sets with `filter` what Google's services measure themselves.
locals {
  run   = "resource.type=\"cloud_run_revision\" AND resource.labels.service_name=starts_with(\"sona-\")"
  asked = "metric.labels.path=\"/api/v1/recommendations\""

  tiles = [
    { title = "Recommendations: 50, 95, 99 % take less than", unit = "ms", line = 100, sets = [
      { metric = "sona.request.duration", where = local.asked, show = "p50", per = [] },
      { metric = "sona.request.duration", where = local.asked, show = "p95", per = [] },
      { metric = "sona.request.duration", where = local.asked, show = "p99", per = [] },
    ] },
    { title = "95 % of the calls take less than, by path", unit = "ms", sets = [
      { metric = "sona.request.duration", show = "p95", per = ["metric.labels.path"] },
    ] },
    { title = "Calls, and failed ones", unit = "1/s", sets = [
      { filter = "metric.type=\"run.googleapis.com/request_count\" AND ${local.run}", show = "rate", per = ["resource.labels.service_name"] },
      { filter = "metric.type=\"run.googleapis.com/request_count\" AND metric.labels.response_code_class=\"5xx\" AND ${local.run}", show = "rate", per = ["resource.labels.service_name"] },
    ] },
    { title = "95 % of the calls take less than, by status", unit = "ms", sets = [
      { metric = "sona.request.duration", show = "p95", per = ["metric.labels.status"] },
    ] },

    { title = "Stages of an answer: 95 %", unit = "ms", sets = [
      { metric = "sona.stage.duration", show = "p95", per = ["metric.labels.stage"] },
    ] },
    { title = "Strategies: 95 %", unit = "ms", sets = [
      { metric = "sona.strategy.duration", show = "p95", per = ["metric.labels.strategy"] },
    ] },
    { title = "Reads of hot copies: hits and misses", unit = "1/s", sets = [
      { metric = "sona.cache", show = "rate", per = ["metric.labels.cache", "metric.labels.outcome"] },
    ] },
    { title = "Degraded parts", unit = "1/s", sets = [
      { metric = "sona.degraded", show = "rate", per = ["metric.labels.part"] },
    ] },

    { title = "Answers by kind", unit = "1/s", sets = [
      { metric = "sona.answers", show = "rate", per = ["metric.labels.kind"] },
    ] },
    { title = "Requests that a pattern was about", unit = "1/s", sets = [
      { metric = "sona.patterns", show = "rate", per = ["metric.labels.outcome"] },
    ] },
    { title = "What viewers made of it", unit = "1/s", sets = [
      { metric = "sona.feedback", show = "rate", per = ["metric.labels.signal", "metric.labels.recommended"] },
    ] },
    { title = "Adaptations by verdict", unit = "1/s", sets = [
      { metric = "sona.adaptations", show = "rate", per = ["metric.labels.verdict"] },
    ] },

    { title = "Events ingested", unit = "1/s", sets = [
      { metric = "sona.events", show = "rate", per = ["metric.labels.outcome"] },
    ] },
    { title = "From publication to work: 95 %", unit = "s", line = 60, sets = [
      { metric = "sona.queue.age", show = "p95", per = ["metric.labels.queue"] },
    ] },
    { title = "Oldest message that waits", unit = "s", line = 300, sets = [
      { filter = "metric.type=\"pubsub.googleapis.com/subscription/oldest_unacked_message_age\" AND ${local.pushes}", show = "max", per = ["resource.labels.subscription_id"] },
    ] },
    { title = "Dead letters", unit = "1", sets = [
      { filter = "metric.type=\"pubsub.googleapis.com/subscription/num_undelivered_messages\" AND ${local.unread}", show = "max", per = ["resource.labels.subscription_id"] },
    ] },

    { title = "Age of the catalogue served", unit = "s", line = 108000, sets = [
      { metric = "sona.snapshot.age", show = "max", per = [] },
    ] },
    { title = "Bugs", unit = "1", sets = [
      { metric = "sona.bugs", show = "sum", per = ["metric.labels.path"] },
    ] },
    { title = "Jobs by result", unit = "1", sets = [
      { filter = local.executions, show = "sum", per = ["resource.labels.job_name", "metric.labels.result"] },
    ] },
    { title = "Instances", unit = "1", sets = [
      { filter = "metric.type=\"run.googleapis.com/container/instance_count\" AND ${local.run}", show = "total", per = ["resource.labels.service_name"] },
    ] },

    { title = "Cloud SQL: CPU, memory, disk", unit = "1", line = 0.8, sets = [
      { filter = "metric.type=\"cloudsql.googleapis.com/database/cpu/utilization\" AND ${local.sql_instance}", show = "max", per = [] },
      { filter = "metric.type=\"cloudsql.googleapis.com/database/memory/utilization\" AND ${local.sql_instance}", show = "max", per = [] },
      { filter = "metric.type=\"cloudsql.googleapis.com/database/disk/utilization\" AND ${local.sql_instance}", show = "max", per = [] },
    ] },
    { title = "Cloud SQL: connections", unit = "1", line = floor(0.8 * var.sql_max_connections), sets = [
      { filter = "metric.type=\"cloudsql.googleapis.com/database/postgresql/num_backends\" AND ${local.sql_instance}", show = "total", per = [] },
    ] },
    { title = "Memorystore: memory", unit = "1", line = 0.9, sets = [
      { filter = local.redis_memory, show = "max", per = [] },
    ] },
    { title = "Memorystore: commands", unit = "1/s", sets = [
      { filter = "metric.type=\"redis.googleapis.com/commands/calls\" AND resource.type=\"redis_instance\"", show = "rate", per = ["metric.labels.cmd"] },
    ] },
  ]

  # How values of a series, then of several, are taken together.
  shows = {
    rate  = { aligner = "ALIGN_RATE", reducer = "REDUCE_SUM" }
    sum   = { aligner = "ALIGN_DELTA", reducer = "REDUCE_SUM" }
    total = { aligner = "ALIGN_MEAN", reducer = "REDUCE_SUM" }
    max   = { aligner = "ALIGN_MAX", reducer = "REDUCE_MAX" }
    p50   = { aligner = "ALIGN_DELTA", reducer = "REDUCE_PERCENTILE_50" }
    p95   = { aligner = "ALIGN_DELTA", reducer = "REDUCE_PERCENTILE_95" }
    p99   = { aligner = "ALIGN_DELTA", reducer = "REDUCE_PERCENTILE_99" }
  }

  columns = 4
  width   = 12 # of 48
  height  = 12
}

resource "google_monitoring_dashboard" "sona" {
  dashboard_json = jsonencode({
    displayName = "SONA"
    mosaicLayout = {
      columns = local.columns * local.width
      tiles = [for place, tile in local.tiles : {
        xPos   = local.width * (place % local.columns)
        yPos   = local.height * floor(place / local.columns)
        width  = local.width
        height = local.height
        widget = {
          title = tile.title
          xyChart = {
            dataSets = [for set in tile.sets : {
              plotType = "LINE"
              timeSeriesQuery = {
                unitOverride = tile.unit
                timeSeriesFilter = {
                  filter = can(set.metric) ? join(" AND ", compact([local.told[set.metric], try(set.where, "")])) : set.filter
                  aggregation = {
                    alignmentPeriod    = "60s"
                    perSeriesAligner   = local.shows[set.show].aligner
                    crossSeriesReducer = local.shows[set.show].reducer
                    groupByFields      = set.per
                  }
                }
              }
            }]
            thresholds = can(tile.line) ? [{ value = tile.line }] : []
            yAxis      = { scale = "LINEAR" }
          }
        }
      }]
    }
  })

  depends_on = [google_project_service.this]
}
