# One function: what its identity may do, its code, who may call it, and the subscription that feeds it.
locals {
  resource_name = "sona-${replace(var.name, "_", "-")}"
  file_path     = "${var.redis.file.folder}/${var.redis.file.name}"
}

resource "google_cloudfunctions2_function" "this" {
  name     = local.resource_name
  location = var.region

  build_config {
    runtime           = "python313"
    entry_point       = var.name
    service_account   = var.build.service_account
    docker_repository = var.build.repository

    environment_variables = {
      GOOGLE_FUNCTION_SOURCE = "functions/${var.name}.py"
      UV_COMPILE_BYTECODE    = "1" # otherwise every new instance compiles what it imports
    }

    source {
      storage_source {
        bucket = var.build.bucket
        object = var.build.object
      }
    }

    automatic_update_policy {} # the runtime's security patches, without a rebuild
  }

  service_config {
    service_account_email = var.identity
    ingress_settings      = var.ingress

    available_cpu                    = tostring(var.size.cpu)
    available_memory                 = "${var.size.memory_mib}Mi"
    max_instance_request_concurrency = var.size.concurrency
    min_instance_count               = var.size.min_instances
    max_instance_count               = var.size.max_instances
    timeout_seconds                  = var.size.timeout_s
    all_traffic_on_latest_revision   = var.latest_takes_traffic

    direct_vpc_egress = "VPC_EGRESS_PRIVATE_RANGES_ONLY"

    direct_vpc_network_interface {
      network    = var.network.id
      subnetwork = var.network.subnet
    }

    environment_variables = merge(var.environment, {
      THREADS                   = tostring(var.size.concurrency) # more requests than threads would queue unseen
      WORKERS                   = "1"
      OPENBLAS_NUM_THREADS      = "1" # a matrix product must not take the threads of other requests
      OMP_NUM_THREADS           = "1"
      MKL_NUM_THREADS           = "1"
      (var.redis.file.variable) = local.file_path
    })

    dynamic "secret_environment_variables" {
      for_each = var.redis.environment
      content {
        key        = secret_environment_variables.key
        project_id = var.project_id
        secret     = secret_environment_variables.value.secret
        version    = secret_environment_variables.value.version
      }
    }

    secret_volumes {
      mount_path = var.redis.file.folder
      project_id = var.project_id
      secret     = var.redis.file.secret

      versions {
        version = var.redis.file.version
        path    = var.redis.file.name
      }
    }
  }

  # Without its rights the first revision would not start.
  depends_on = [
    google_secret_manager_secret_iam_member.reads,
    google_storage_bucket_iam_member.this,
    google_project_iam_member.sql,
  ]
}

resource "google_cloud_run_v2_service_iam_member" "invoker" {
  for_each = var.invokers

  name     = google_cloudfunctions2_function.this.name # of the service beneath
  location = var.region
  role     = "roles/run.invoker"
  member   = each.value
}
