locals {
  member = "serviceAccount:${var.identity}"
  secrets = merge(
    { for variable, secret in var.redis.environment : variable => secret.secret },
    { (var.redis.file.variable) = var.redis.file.secret },
  )
}

resource "google_secret_manager_secret_iam_member" "reads" {
  for_each = local.secrets

  secret_id = each.value
  role      = "roles/secretmanager.secretAccessor"
  member    = local.member
}

resource "google_project_iam_member" "sql" {
  for_each = var.sql ? toset(["roles/cloudsql.client", "roles/cloudsql.instanceUser"]) : toset([])

  project = var.project_id
  role    = each.key
  member  = local.member
}

resource "google_project_iam_member" "telemetry" {
  for_each = var.telemetry_roles

  project = var.project_id
  role    = each.key
  member  = local.member
}

resource "google_pubsub_topic_iam_member" "publishes" {
  for_each = var.publishes

  topic  = each.key
  role   = "roles/pubsub.publisher"
  member = local.member
}

resource "google_storage_bucket_iam_member" "this" {
  for_each = var.buckets

  bucket = each.key
  role   = each.value
  member = local.member
}
