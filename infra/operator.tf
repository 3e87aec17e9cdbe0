# Whoever works by hand: `sona import`, `encoder`, `erase`, `redeliver` and the like, on a machine in the network that runs
# as sona-operator. It may do with data what workloads may, and nothing with what they run on.
resource "google_service_account" "operator" {
  account_id   = "sona-operator"
  display_name = "SONA: the command line, by hand"
}

locals {
  operator = "serviceAccount:${google_service_account.operator.email}"
  operator_secrets = merge(local.redis.environment, {
    (local.redis.file.variable) = { secret = local.redis.file.secret, version = local.redis.file.version }
  })

  # What a workload is told, less what it measures.
  operator_environment = merge(
    { for name, value in local.environment : name => value if !startswith(name, "SONA_TELEMETRY_") },
    local.sql_environment,
    {
      SONA_STORES_SQL_USER      = local.sql_users["operator"]
      SONA_PRIVACY_DEAD_LETTERS = join(",", [for unread in google_pubsub_subscription.dead_letters : unread.name])
    },
  )
}

resource "google_project_iam_member" "operator_sql" {
  for_each = toset(["roles/cloudsql.client", "roles/cloudsql.instanceUser"])

  project = var.project_id
  role    = each.key
  member  = local.operator
}

resource "google_secret_manager_secret_iam_member" "operator_reads" {
  for_each = local.operator_secrets

  secret_id = each.value.secret
  role      = "roles/secretmanager.secretAccessor"
  member    = local.operator
}

resource "google_storage_bucket_iam_member" "operator_writes" {
  for_each = toset(["models", "snapshots"])

  bucket = google_storage_bucket.this[each.key].name
  role   = "roles/storage.objectUser"
  member = local.operator
}

resource "google_pubsub_topic_iam_member" "operator_publishes" {
  for_each = local.topics

  topic  = google_pubsub_topic.this[each.key].id
  role   = "roles/pubsub.publisher"
  member = local.operator
}

resource "google_pubsub_subscription_iam_member" "operator_reads_dead_letters" {
  for_each = local.topics

  subscription = google_pubsub_subscription.dead_letters[each.key].name
  role         = "roles/pubsub.subscriber"
  member       = local.operator
}

# A shell on such a machine, through Identity-Aware Proxy and from nowhere else.
resource "google_compute_firewall" "operator_shell" {
  name                    = "sona-operator-shell"
  network                 = google_compute_network.this.id
  direction               = "INGRESS"
  source_ranges           = ["35.235.240.0/20"] # all of Identity-Aware Proxy, and nothing else
  target_service_accounts = [google_service_account.operator.email]

  allow {
    protocol = "tcp"
    ports    = ["22"]
  }
}
