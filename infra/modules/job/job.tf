# One Cloud Run job: what its identity may do, its container, and when it starts.
locals {
  resource_name = "sona-${replace(var.name, "_", "-")}"
}

resource "google_cloud_run_v2_job" "this" {
  name                = local.resource_name
  location            = var.region
  deletion_protection = var.deletion_protection

  template {
    task_count  = var.size.tasks
    parallelism = var.size.tasks

    template {
      service_account       = var.identity
      timeout               = "${var.size.timeout_s}s"
      max_retries           = var.size.retries
      execution_environment = "EXECUTION_ENVIRONMENT_GEN2"

      containers {
        image   = var.image
        command = ["python", "-m", "functions.${var.name}"]

        resources {
          limits = {
            cpu    = tostring(var.size.cpu)
            memory = "${var.size.memory_mib}Mi"
          }
        }

        dynamic "env" {
          for_each = merge(var.environment, {
            OPENBLAS_NUM_THREADS = tostring(var.size.cpu) # one task has the container for itself
            OMP_NUM_THREADS      = tostring(var.size.cpu)
            MKL_NUM_THREADS      = tostring(var.size.cpu)
          }, var.redis == null ? {} : { (var.redis.file.variable) = "${var.redis.file.folder}/${var.redis.file.name}" })
          content {
            name  = env.key
            value = env.value
          }
        }

        dynamic "env" {
          for_each = var.redis == null ? {} : var.redis.environment
          content {
            name = env.key

            value_source {
              secret_key_ref {
                secret  = env.value.secret
                version = env.value.version
              }
            }
          }
        }

        dynamic "volume_mounts" {
          for_each = var.redis == null ? [] : [var.redis.file]
          content {
            name       = "redis-ca"
            mount_path = volume_mounts.value.folder
          }
        }
      }

      dynamic "volumes" {
        for_each = var.redis == null ? [] : [var.redis.file]
        content {
          name = "redis-ca"

          secret {
            secret = volumes.value.secret

            items {
              version = volumes.value.version
              path    = volumes.value.name
            }
          }
        }
      }

      vpc_access {
        egress = "PRIVATE_RANGES_ONLY"

        network_interfaces {
          network    = var.network.id
          subnetwork = var.network.subnet
        }
      }
    }
  }

  depends_on = [
    google_secret_manager_secret_iam_member.reads,
    google_storage_bucket_iam_member.this,
    google_project_iam_member.sql,
  ]
}

# Starting a job is a call of Google's API, hence an OAuth token and not an OIDC one.
resource "google_cloud_scheduler_job" "this" {
  for_each = var.schedules

  name             = "${local.resource_name}-${each.key}"
  region           = var.region
  schedule         = each.value.cron
  time_zone        = var.timezone
  attempt_deadline = "60s"

  http_target {
    http_method = "POST"
    uri         = "https://run.googleapis.com/v2/${google_cloud_run_v2_job.this.id}:run"
    headers     = { "Content-Type" = "application/json" }
    body = length(each.value.environment) == 0 ? null : base64encode(jsonencode({
      overrides = {
        containerOverrides = [{ env = [for name, value in each.value.environment : { name = name, value = value }] }]
      }
    }))

    oauth_token {
      service_account_email = var.scheduler_identity
    }
  }

  retry_config {
    retry_count          = 3
    min_backoff_duration = "30s"
  }
}

locals {
  with_overrides = anytrue([for schedule in values(var.schedules) : length(schedule.environment) > 0])
  invokers = merge(
    var.operators,
    length(var.schedules) == 0 ? {} : { scheduler = "serviceAccount:${var.scheduler_identity}" },
  )
}

resource "google_cloud_run_v2_job_iam_member" "invoker" {
  for_each = local.invokers

  name     = google_cloud_run_v2_job.this.name
  location = var.region
  role     = local.with_overrides ? "roles/run.jobsExecutorWithOverrides" : "roles/run.invoker"
  member   = each.value
}
