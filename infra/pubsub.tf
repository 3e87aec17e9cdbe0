locals {
  # Topic -> the function its subscription pushes to.
  topics = {
    interactions        = { function = "ingest" }
    adaptation-requests = { function = "adapt" }
  }

  pubsub_agent = "serviceAccount:service-${data.google_project.this.number}@gcp-sa-pubsub.iam.gserviceaccount.com"
}

resource "google_pubsub_topic" "this" {
  for_each = merge(local.topics, { dead-letters = {} })

  name                       = each.key
  message_retention_duration = "604800s" # seven days to replay from, whatever a subscription acknowledged

  message_storage_policy {
    allowed_persistence_regions = [var.region]
  }

  depends_on = [google_project_service.this]
}

# Platforms that stream interactions themselves, without `collect`.
resource "google_pubsub_topic_iam_member" "platforms_publish" {
  for_each = var.publishers

  topic  = google_pubsub_topic.this["interactions"].id
  role   = "roles/pubsub.publisher"
  member = each.key
}

# What was delivered a hundred times in vain, kept apart by where it came from until somebody looks.
resource "google_pubsub_subscription" "dead_letters" {
  for_each = local.topics

  name                       = "dead-letters-${each.value.function}"
  topic                      = google_pubsub_topic.this["dead-letters"].id
  filter                     = "attributes.CloudPubSubDeadLetterSourceSubscription = \"${each.value.function}\""
  message_retention_duration = "2678400s" # 31 days, the longest there is
  ack_deadline_seconds       = 60

  expiration_policy {
    ttl = ""
  }
}

resource "google_pubsub_topic_iam_member" "agent_publishes_dead_letters" {
  topic  = google_pubsub_topic.this["dead-letters"].id
  role   = "roles/pubsub.publisher"
  member = local.pubsub_agent
}

resource "google_pubsub_subscription_iam_member" "erasure_reads_dead_letters" {
  for_each = local.topics

  subscription = google_pubsub_subscription.dead_letters[each.key].name
  role         = "roles/pubsub.subscriber"
  member       = "serviceAccount:${google_service_account.function[local.erasing].email}"
}

# Pub/Sub signs its pushes as this identity, which may call the two functions and nothing else.
resource "google_service_account" "push" {
  account_id   = "sona-push"
  display_name = "SONA: Pub/Sub pushes"
}

resource "google_service_account_iam_member" "agent_signs_pushes" {
  service_account_id = google_service_account.push.name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = local.pubsub_agent
}
