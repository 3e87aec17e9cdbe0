resource "google_pubsub_subscription" "push" {
  count = var.subscription == null ? 0 : 1

  name                       = var.name
  topic                      = var.subscription.topic
  enable_message_ordering    = true # the ordering key is the user
  ack_deadline_seconds       = var.subscription.ack_deadline_s
  message_retention_duration = "${var.subscription.oldest_retained_s}s"

  push_config {
    push_endpoint = "${google_cloudfunctions2_function.this.service_config[0].uri}/push/${var.name}"

    oidc_token {
      service_account_email = var.subscription.push_identity
      audience              = var.subscription.audience
    }
  }

  dead_letter_policy {
    dead_letter_topic     = var.subscription.dead_letter_topic
    max_delivery_attempts = var.subscription.delivery_attempts
  }

  retry_policy {
    minimum_backoff = "1s"
    maximum_backoff = "${var.subscription.longest_retry_wait}s"
  }

  expiration_policy {
    ttl = "" # never, however quiet it is
  }

  depends_on = [google_cloud_run_v2_service_iam_member.invoker]
}

# Pub/Sub itself forwards to the dead letters, and for that acknowledges here.
resource "google_pubsub_subscription_iam_member" "agent_acknowledges" {
  count = var.subscription == null ? 0 : 1

  subscription = google_pubsub_subscription.push[0].name
  role         = "roles/pubsub.subscriber"
  member       = var.subscription.pubsub_agent
}
