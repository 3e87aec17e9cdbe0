# Hot copies of user states and adapters, and the shared counters. Everything in it can be refilled from Cloud SQL.
resource "google_redis_instance" "hot" {
  name           = "sona-hot"
  region         = var.region
  tier           = var.redis_tier
  memory_size_gb = var.redis_memory_gb
  redis_version  = "REDIS_7_2"

  authorized_network      = google_compute_network.this.id
  connect_mode            = "PRIVATE_SERVICE_ACCESS"
  auth_enabled            = true
  transit_encryption_mode = "SERVER_AUTHENTICATION"

  redis_configs = {
    maxmemory-policy = "allkeys-lfu" # the least used users fall back to Cloud SQL
  }

  persistence_config {
    persistence_mode    = "RDB"
    rdb_snapshot_period = "ONE_HOUR"
  }

  maintenance_policy {
    weekly_maintenance_window {
      day = "TUESDAY"

      start_time {
        hours = 3
      }
    }
  }

  deletion_protection = var.deletion_protection

  depends_on = [google_service_networking_connection.private_services]
}
