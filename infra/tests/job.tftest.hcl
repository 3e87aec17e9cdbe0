# One job as a module: command, identity, network, and how Cloud Scheduler starts it.
mock_provider "google" {}

variables {
  name       = "maintain_patterns"
  identity   = "sona-job-maintain-patterns@demo-project.iam.gserviceaccount.com"
  project_id = "demo-project"
  region     = "europe-west1"
  image      = "europe-west1-docker.pkg.dev/demo-project/sona-jobs/jobs@sha256:0000000000000000000000000000000000000000000000000000000000000000"
  size = {
    cpu        = 2
    memory_mib = 4096
    tasks      = 4
    timeout_s  = 3600
    retries    = 1
  }
  network     = { id = "network", subnet = "subnet" }
  environment = { SONA_EDITION = "cloud" }
  redis = {
    environment = { SONA_STORES_REDIS_URL = { secret = "sona-redis-url", version = "3" } }
    file        = { variable = "SONA_STORES_REDIS_CA_FILE", folder = "/etc/sona/redis", name = "ca.pem", secret = "sona-redis-ca", version = "1" }
  }
  buckets   = { snapshots = "roles/storage.objectUser" }
  publishes = []
  sql       = true
  schedules = {
    daily  = { cron = "30 4 * * *" }
    weekly = { cron = "30 4 * * 0", environment = { SONA_PATTERNS_MAINTENANCE = "weekly" } }
  }
  timezone            = "Etc/UTC"
  scheduler_identity  = "scheduler@demo-project.iam.gserviceaccount.com"
  operators           = {}
  deletion_protection = true
}

run "the_job" {
  command = apply

  module {
    source = "./modules/job"
  }

  assert {
    condition     = google_cloud_run_v2_job.this.template[0].template[0].containers[0].command == tolist(["python", "-m", "functions.maintain_patterns"])
    error_message = "A job runs the module of its name."
  }

  assert {
    condition     = google_cloud_run_v2_job.this.template[0].task_count == 4 && google_cloud_run_v2_job.this.template[0].parallelism == 4
    error_message = "All tasks run at once; sql_connections counts them so."
  }

  assert {
    condition     = google_cloud_run_v2_job.this.template[0].template[0].service_account == var.identity
    error_message = "A job runs as its own identity."
  }

  assert {
    condition     = alltrue([for schedule in google_cloud_scheduler_job.this : length(schedule.http_target[0].oauth_token) == 1 && endswith(schedule.http_target[0].uri, ":run")])
    error_message = "Google's own API takes an OAuth token."
  }

  assert {
    condition     = google_cloud_scheduler_job.this["daily"].http_target[0].body == null && strcontains(base64decode(google_cloud_scheduler_job.this["weekly"].http_target[0].body), "\"env\":[{\"name\":\"SONA_PATTERNS_MAINTENANCE\",\"value\":\"weekly\"}]")
    error_message = "The weekly run differs in a variable."
  }

  assert {
    condition     = google_cloud_run_v2_job_iam_member.invoker["scheduler"].role == "roles/run.jobsExecutorWithOverrides"
    error_message = "Starting with other variables needs its own role."
  }
}

run "a_job_without_schedule_is_started_by_releases_only" {
  command = plan

  module {
    source = "./modules/job"
  }

  variables {
    name      = "migrate"
    schedules = {}
    redis     = null
    operators = { deploy = "serviceAccount:deploy@demo-project.iam.gserviceaccount.com" }
  }

  assert {
    condition     = length(google_cloud_scheduler_job.this) == 0 && keys(google_cloud_run_v2_job_iam_member.invoker) == ["deploy"] && google_cloud_run_v2_job_iam_member.invoker["deploy"].role == "roles/run.invoker"
    error_message = "Nobody but a release may start the migration."
  }

  assert {
    condition     = length(google_secret_manager_secret_iam_member.reads) == 0
    error_message = "A job reads secrets that it does not need."
  }
}
