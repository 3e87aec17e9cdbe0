# One function as a module: concurrency and threads, egress, identity, and the subscription of a pushed one.
mock_provider "google" {}

variables {
  name       = "ingest"
  identity   = "sona-fn-ingest@demo-project.iam.gserviceaccount.com"
  project_id = "demo-project"
  region     = "europe-west1"
  build = {
    bucket          = "source"
    object          = "source-0123456789abcdef.zip"
    service_account = "projects/demo-project/serviceAccounts/build@demo-project.iam.gserviceaccount.com"
    repository      = "projects/demo-project/locations/europe-west1/repositories/sona-functions"
  }
  size = {
    cpu           = 1
    memory_mib    = 1024
    concurrency   = 8
    timeout_s     = 60
    min_instances = 1
    max_instances = 20
  }
  needs_mib            = 920
  network              = { id = "network", subnet = "subnet" }
  ingress              = "ALLOW_INTERNAL_ONLY"
  latest_takes_traffic = false
  environment          = { SONA_EDITION = "cloud" }
  redis = {
    environment = { SONA_STORES_REDIS_URL = { secret = "sona-redis-url", version = "3" } }
    file        = { variable = "SONA_STORES_REDIS_CA_FILE", folder = "/etc/sona/redis", name = "ca.pem", secret = "sona-redis-ca", version = "1" }
  }
  invokers  = { push = "serviceAccount:push@demo-project.iam.gserviceaccount.com" }
  publishes = ["adaptation-requests"]
  buckets   = { snapshots = "roles/storage.objectViewer" }
  sql       = true
  subscription = {
    topic              = "projects/demo-project/topics/interactions"
    dead_letter_topic  = "projects/demo-project/topics/dead-letters"
    push_identity      = "push@demo-project.iam.gserviceaccount.com"
    audience           = "https://sona-ingest-1.europe-west1.run.app"
    pubsub_agent       = "serviceAccount:service-1@gcp-sa-pubsub.iam.gserviceaccount.com"
    ack_deadline_s     = 60
    delivery_attempts  = 5
    oldest_retained_s  = 604800
    longest_retry_wait = 600
  }
}

run "the_function" {
  command = apply

  module {
    source = "./modules/function"
  }

  assert {
    condition = (
      google_cloudfunctions2_function.this.service_config[0].environment_variables["THREADS"] == "8"
      && google_cloudfunctions2_function.this.service_config[0].max_instance_request_concurrency == 8
      && google_cloudfunctions2_function.this.service_config[0].environment_variables["OPENBLAS_NUM_THREADS"] == "1"
      && google_cloudfunctions2_function.this.service_config[0].environment_variables["WORKERS"] == "1"
    )
    error_message = "Threads must equal the concurrency, and BLAS must keep to one."
  }

  assert {
    condition     = google_cloudfunctions2_function.this.build_config[0].environment_variables["GOOGLE_FUNCTION_SOURCE"] == "functions/ingest.py" && google_cloudfunctions2_function.this.build_config[0].entry_point == "ingest"
    error_message = "File, entry point and key must have one name."
  }

  assert {
    condition     = google_cloudfunctions2_function.this.service_config[0].service_account_email == var.identity
    error_message = "A function runs as its own identity."
  }

  assert {
    condition     = google_cloudfunctions2_function.this.service_config[0].direct_vpc_egress == "VPC_EGRESS_PRIVATE_RANGES_ONLY"
    error_message = "Functions reach the stores through the private network."
  }

  assert {
    condition     = one([for secret in google_cloudfunctions2_function.this.service_config[0].secret_environment_variables : secret.version]) == "3"
    error_message = "Secrets are pinned to a version."
  }

  assert {
    condition     = google_cloudfunctions2_function.this.service_config[0].environment_variables["SONA_STORES_REDIS_CA_FILE"] == "/etc/sona/redis/ca.pem"
    error_message = "The variable must name the file that is mounted."
  }

  assert {
    condition = (
      google_pubsub_subscription.push[0].enable_message_ordering
      && google_pubsub_subscription.push[0].push_config[0].oidc_token[0].audience == "https://sona-ingest-1.europe-west1.run.app"
      && google_pubsub_subscription.push[0].push_config[0].oidc_token[0].service_account_email == "push@demo-project.iam.gserviceaccount.com"
      && endswith(google_pubsub_subscription.push[0].push_config[0].push_endpoint, "/push/ingest")
      && google_pubsub_subscription.push[0].dead_letter_policy[0].max_delivery_attempts == 5
      && google_pubsub_subscription.push[0].expiration_policy[0].ttl == ""
      && google_pubsub_subscription.push[0].ack_deadline_seconds == 60
    )
    error_message = "A push is ordered, signed, limited in attempts and never expires."
  }

  assert {
    condition     = alltrue([for grant in google_secret_manager_secret_iam_member.reads : grant.member == "serviceAccount:${var.identity}"])
    error_message = "A function's rights are its own identity's."
  }

  assert {
    condition     = toset(keys(google_project_iam_member.sql)) == toset(["roles/cloudsql.client", "roles/cloudsql.instanceUser"])
    error_message = "On the project a function may only connect to Cloud SQL."
  }
}

run "a_function_that_is_called_has_no_subscription_and_maybe_no_database" {
  command = plan

  module {
    source = "./modules/function"
  }

  variables {
    name         = "collect"
    sql          = false
    subscription = null
  }

  assert {
    condition     = length(google_pubsub_subscription.push) == 0 && length(google_project_iam_member.sql) == 0
    error_message = "A function has rights that it does not need."
  }
}

run "too_little_memory_is_refused" {
  command = plan

  module {
    source = "./modules/function"
  }

  variables {
    needs_mib = 1200
  }

  expect_failures = [var.needs_mib]
}
