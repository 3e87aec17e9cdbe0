# The truth: events, states, adapters, patterns, the catalogue. PostgreSQL with pgvector.
resource "google_sql_database_instance" "cold" {
  name                = "sona-cold"
  region              = var.region
  database_version    = "POSTGRES_17"
  deletion_protection = var.deletion_protection

  settings {
    edition                     = "ENTERPRISE" # unset would mean ENTERPRISE_PLUS, which refuses db-custom machines
    tier                        = var.sql_tier
    availability_type           = var.sql_high_availability ? "REGIONAL" : "ZONAL"
    disk_type                   = "PD_SSD"
    disk_size                   = var.sql_disk_gb
    disk_autoresize             = true
    deletion_protection_enabled = var.deletion_protection
    connector_enforcement       = "REQUIRED" # every connection brings IAM's certificate

    ip_configuration {
      ipv4_enabled    = false
      private_network = google_compute_network.this.id
      ssl_mode        = "TRUSTED_CLIENT_CERTIFICATE_REQUIRED"
    }

    backup_configuration {
      enabled                        = true
      start_time                     = "02:00"
      point_in_time_recovery_enabled = true
      transaction_log_retention_days = 7

      backup_retention_settings {
        retained_backups = 14
      }
    }

    maintenance_window {
      day          = 2
      hour         = 3
      update_track = "stable"
    }

    insights_config {
      query_insights_enabled  = true
      record_application_tags = false
      record_client_address   = false # users' ids are in no query text, and nobody's address is kept
    }

    dynamic "database_flags" {
      for_each = {
        "cloudsql.iam_authentication" = "on"
        "cloudsql.enable_pgaudit"     = "on"
        "max_connections"             = tostring(var.sql_max_connections)
        "log_lock_waits"              = "on"
        "log_min_duration_statement"  = "-1" # statement texts stay out of the logs; Query Insights has the shapes
      }
      content {
        name  = database_flags.key
        value = database_flags.value
      }
    }
  }

  lifecycle {
    precondition {
      condition     = local.sql_connections <= var.sql_max_connections - 20
      error_message = "All instances together may open ${local.sql_connections} connections; sql_max_connections less 20 for operators allows fewer. Lower instances or raise it."
    }
  }

  depends_on = [google_service_networking_connection.private_services]
}

resource "google_sql_database" "lora_adapters" {
  name     = "lora_adapters"
  instance = google_sql_database_instance.cold.name
}

locals {
  sql_functions = { for name, function in local.functions : name => function if function.sql != null }
  sql_jobs      = { for name, job in local.jobs : name => job if job.sql != null }

  # The most connections that could be open at once: every instance's pool full, every scheduled task running.
  sql_connections = sum(concat(
    [for name, function in local.sql_functions : local.scale[name].max * function.sql.pool],
    [for name, job in local.sql_jobs : job.tasks * job.sql.pool],
  ))

  # Cloud SQL's name of a service account: its address without the suffix.
  sql_users = merge(
    { for name in keys(local.sql_functions) : name => "sona-fn-${replace(name, "_", "-")}@${var.project_id}.iam" },
    { for name in keys(local.sql_jobs) : name => "sona-job-${replace(name, "_", "-")}@${var.project_id}.iam" },
    { operator = "sona-operator@${var.project_id}.iam" },
  )

  identities = merge(
    { for name, account in google_service_account.function : name => account.email },
    { for name, account in google_service_account.job : name => account.email },
    { operator = google_service_account.operator.email },
  )

  # What the migration grants; it alone may change the schema.
  sql_rights = {
    for right in ["read", "write"] : right => join(",", sort(concat(
      [for name, workload in merge(local.sql_functions, local.sql_jobs) : local.sql_users[name] if workload.sql.right == right],
      right == "write" ? [local.sql_users["operator"]] : [],
    )))
  }
}

# One database user per workload and one for operators, without password: IAM vouches for them. No function is needed
# for this, so that the first migration finds all of them and the first function finds its tables.
resource "google_sql_user" "workload" {
  for_each = local.sql_users

  instance       = google_sql_database_instance.cold.name
  type           = "CLOUD_IAM_SERVICE_ACCOUNT"
  name           = trimsuffix(local.identities[each.key], ".gserviceaccount.com") # each.value, once the account exists
  database_roles = each.key == "migrate" ? ["cloudsqlsuperuser"] : null           # CREATE EXTENSION vector needs it

  depends_on = [google_sql_database.lora_adapters]
}
