# Every function of functions/, by file name; tests hold the two together. What the fields mean:
#   paths      what the load balancer sends here; with edge = false only IAM callers within the project's network reach it
#   snapshot   it maps the catalogue, so its memory must hold two snapshots besides the process
#   sql        right (read or write) and pool: connections per instance; null: never connects
#   publishes  topics
# One process of one CPU per instance: more CPUs would wait for Python's lock, more instances do not.
locals {
  functions = {
    recommend = {
      paths       = ["/api/v1/recommendations", "/api/v1/personalization", "/api/v1/search", "/health"]
      edge        = true
      memory_mib  = 2048
      concurrency = 8
      timeout_s   = 10
      min         = 2
      max         = 40
      snapshot    = true
      sql         = { right = "read", pool = 2 }
      publishes   = ["interactions"]
    }
    collect = {
      paths       = ["/api/v1/interactions"]
      edge        = true
      memory_mib  = 512
      concurrency = 16
      timeout_s   = 15
      min         = 1
      max         = 20
      snapshot    = false
      sql         = null
      publishes   = ["interactions"]
    }
    profiles = {
      paths       = ["/api/v1/profile"]
      edge        = true
      memory_mib  = 1024
      concurrency = 8
      timeout_s   = 15
      min         = 0
      max         = 10
      snapshot    = true
      sql         = { right = "write", pool = 2 }
      publishes   = ["interactions"]
    }
    adapters = {
      paths       = ["/api/v1/adapter", "/api/v1/lora"]
      edge        = true
      memory_mib  = 1024
      concurrency = 4
      timeout_s   = 30
      min         = 0
      max         = 10
      snapshot    = true
      sql         = { right = "write", pool = 2 }
      publishes   = ["interactions"]
    }
    patterns = {
      paths       = ["/api/v1/patterns"]
      edge        = false
      memory_mib  = 1024
      concurrency = 8
      timeout_s   = 15
      min         = 0
      max         = 10
      snapshot    = true
      sql         = { right = "write", pool = 2 }
      publishes   = ["interactions"]
    }
    router = {
      paths       = ["/api/v1/router"]
      edge        = false
      memory_mib  = 1024
      concurrency = 8
      timeout_s   = 10
      min         = 0
      max         = 10
      snapshot    = true
      sql         = null
      publishes   = []
    }
    attention = {
      paths       = ["/api/v1/attention"]
      edge        = false
      memory_mib  = 1024
      concurrency = 8
      timeout_s   = 10
      min         = 0
      max         = 10
      snapshot    = false
      sql         = null
      publishes   = []
    }
    experiments = {
      paths       = ["/api/v1/experiments", "/api/v1/metrics"]
      edge        = true
      memory_mib  = 512
      concurrency = 8
      timeout_s   = 15
      min         = 0
      max         = 10
      snapshot    = false
      sql         = { right = "write", pool = 2 }
      publishes   = ["interactions"]
    }
    ingest = {
      paths       = []
      edge        = false
      memory_mib  = 1024
      concurrency = 8
      timeout_s   = 60
      min         = 1
      max         = 20
      snapshot    = true
      sql         = { right = "write", pool = 4 }
      publishes   = ["adaptation-requests"]
    }
    adapt = {
      paths       = []
      edge        = false
      memory_mib  = 1024
      concurrency = 4
      timeout_s   = 120
      min         = 0
      max         = 20
      snapshot    = true
      sql         = { right = "write", pool = 2 }
      publishes   = []
    }
  }

  # The standard instance's bounds, in MiB: a process with its libraries, and one snapshot. /tmp is memory, and while a new
  # version arrives the old one is still served. A larger catalogue needs a mounted bucket.
  process_mib  = 320
  snapshot_mib = 300

  erasing = "profiles" # looks through dead letters too, when it deletes a person

  pushed = { for topic, subscribed in local.topics : subscribed.function => topic }
  scale = {
    for name, function in local.functions : name => {
      min = coalesce(try(var.instances[name].min, null), var.environment == "prod" ? function.min : 0)
      max = coalesce(try(var.instances[name].max, null), function.max)
    }
  }

  environment = merge(var.settings, {
    SONA_EDITION                   = "cloud"
    SONA_STORES_PROJECT            = var.project_id
    SONA_STORES_INTERACTIONS_TOPIC = google_pubsub_topic.this["interactions"].name
    SONA_ADAPTATION_TOPIC          = google_pubsub_topic.this["adaptation-requests"].name
    SONA_STORES_SNAPSHOTS_BUCKET   = google_storage_bucket.this["snapshots"].name
    SONA_STORES_MODELS_BUCKET      = google_storage_bucket.this["models"].name
    SONA_AUTH_ISSUER               = var.auth.issuer
    SONA_AUTH_AUDIENCE             = var.auth.audience
    SONA_AUTH_JWKS_URL             = var.auth.jwks_url
    }, !var.telemetry ? {} : {
    SONA_TELEMETRY_EXPORTER = "google"
    SONA_TELEMETRY_ENDPOINT = "https://telemetry.googleapis.com"
    SONA_TELEMETRY_REGION   = var.region
  })

  sql_environment = {
    SONA_STORES_SQL_INSTANCE = google_sql_database_instance.cold.connection_name
    SONA_STORES_SQL_DATABASE = google_sql_database.lora_adapters.name
  }

  # The address that Cloud Run gives a service by rule, so that a function can know its own.
  push_audience = {
    for name in keys(local.pushed) :
    name => "https://sona-${name}-${data.google_project.this.number}.${var.region}.run.app"
  }
}

module "function" {
  source   = "./modules/function"
  for_each = local.functions

  name       = each.key
  identity   = google_service_account.function[each.key].email
  project_id = var.project_id
  region     = var.region

  build = {
    bucket          = google_storage_bucket.this["source"].name
    object          = var.source_object
    service_account = google_service_account.build.id
    repository      = google_artifact_registry_repository.this["functions"].id
  }

  size = {
    cpu           = 1
    memory_mib    = each.value.memory_mib
    concurrency   = each.value.concurrency
    timeout_s     = each.value.timeout_s
    min_instances = local.scale[each.key].min
    max_instances = local.scale[each.key].max
  }
  needs_mib = local.process_mib + (each.value.snapshot ? 2 * local.snapshot_mib : 0)

  network = {
    id     = google_compute_network.this.id
    subnet = google_compute_subnetwork.workloads.id
  }

  ingress = (
    contains(keys(local.pushed), each.key) ? "ALLOW_INTERNAL_ONLY" :
    var.domain == null ? "ALLOW_ALL" : "ALLOW_INTERNAL_AND_GCLB"
  )
  latest_takes_traffic = !var.gradual_rollout

  environment = merge(
    local.environment,
    each.value.sql == null ? {} : merge(local.sql_environment, {
      SONA_STORES_SQL_USER      = local.sql_users[each.key]
      SONA_STORES_SQL_POOL_SIZE = tostring(each.value.sql.pool)
    }),
    contains(keys(local.pushed), each.key) ? {
      SONA_AUTH_PUSH_AUDIENCE = local.push_audience[each.key]
      SONA_AUTH_PUSH_EMAIL    = google_service_account.push.email
      SONA_AUTH_PUSH_CHECKED  = "true" # by Cloud Run's IAM, which nobody passes but the push identity
    } : {},
    each.key == local.erasing ? {
      SONA_PRIVACY_DEAD_LETTERS = join(",", [for unread in google_pubsub_subscription.dead_letters : unread.name])
    } : {},
  )
  redis = local.redis

  invokers = merge(
    contains(keys(local.pushed), each.key) ? { push = "serviceAccount:${google_service_account.push.email}" } : {
      for member in var.callers : member => member
    },
    contains(keys(local.pushed), each.key) ? {} : { deploy = "serviceAccount:${google_service_account.deploy.email}" },
    # The load balancer carries no identity. Callers prove theirs with the token that every route checks.
    var.domain != null && each.value.edge ? { load_balancer = "allUsers" } : {},
  )

  telemetry_roles = toset(var.telemetry ? local.telemetry_roles : [])

  sql       = each.value.sql != null
  publishes = toset([for topic in each.value.publishes : google_pubsub_topic.this[topic].name])
  buckets = {
    for kind in ["models", "snapshots"] : google_storage_bucket.this[kind].name => "roles/storage.objectViewer"
  }

  subscription = !contains(keys(local.pushed), each.key) ? null : {
    topic              = google_pubsub_topic.this[local.pushed[each.key]].id
    dead_letter_topic  = google_pubsub_topic.this["dead-letters"].id
    push_identity      = google_service_account.push.email
    audience           = local.push_audience[each.key]
    pubsub_agent       = local.pubsub_agent
    ack_deadline_s     = each.value.timeout_s
    delivery_attempts  = 100 # with pauses of up to ten minutes: an outage of sixteen hours loses nothing
    oldest_retained_s  = 604800
    longest_retry_wait = 600
  }

  # Without its rights the build identity could not build the first function. The module reads no data, so nothing of
  # its plan is put off.
  depends_on = [
    google_project_iam_member.build_logs,
    google_storage_bucket_iam_member.build_reads_source,
    google_artifact_registry_repository_iam_member.build_pushes,
  ]
}
