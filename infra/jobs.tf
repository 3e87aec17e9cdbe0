# Every job of functions/, by file name; tests hold the two together. Each task takes its shard by CLOUD_RUN_TASK_INDEX.
#   schedules  name -> cron; none: started by a release or by hand
#   snapshots  whether it writes the snapshots bucket
locals {
  jobs = {
    migrate = {
      cpu        = 1
      memory_mib = 512
      tasks      = 1
      timeout_s  = 3600
      retries    = 0 # a migration that failed is looked at, not repeated
      redis      = false
      snapshots  = false
      sql        = { right = "own", pool = 2 }
      schedules  = {}
    }
    adapt_users = {
      cpu        = 1
      memory_mib = 1024
      tasks      = 4
      timeout_s  = 3000 # done before the next hour begins
      retries    = 2
      redis      = true
      snapshots  = false
      sql        = { right = "write", pool = 2 }
      schedules  = { hourly = { cron = "10 * * * *" } }
    }
    embed_catalog = {
      cpu        = 2
      memory_mib = 8192 # the task that finds every title embedded builds the snapshot
      tasks      = 4
      timeout_s  = 10800
      retries    = 2
      redis      = true
      snapshots  = true
      sql        = { right = "write", pool = 2 }
      schedules  = { daily = { cron = "0 2 * * *" } }
    }
    publish_snapshot = {
      cpu        = 2
      memory_mib = 8192
      tasks      = 1
      timeout_s  = 7200
      retries    = 1
      redis      = true
      snapshots  = true
      sql        = { right = "write", pool = 2 }
      schedules  = { daily = { cron = "30 3 * * *" } }
    }
    rebalance_bandits = {
      cpu        = 1
      memory_mib = 512
      tasks      = 1
      timeout_s  = 600
      retries    = 1
      redis      = true
      snapshots  = false
      sql        = { right = "write", pool = 2 }
      schedules  = { hourly = { cron = "40 * * * *" } } # an hour's users are few enough to go to yesterday's best
    }
    train_base = {
      cpu        = 2
      memory_mib = 8192
      tasks      = 1
      timeout_s  = 14400
      retries    = 1
      redis      = true
      snapshots  = true
      sql        = { right = "read", pool = 2 }
      schedules  = { weekly = { cron = "0 0 * * 0" } }
    }
    maintain_patterns = {
      cpu        = 1
      memory_mib = 4096
      tasks      = 1
      timeout_s  = 3600
      retries    = 1
      redis      = true
      snapshots  = false
      sql        = { right = "write", pool = 2 }
      schedules = {
        daily  = { cron = "30 4 * * 1-6", environment = { SONA_PATTERNS_MAINTENANCE = "daily" } }
        weekly = { cron = "30 4 * * 0", environment = { SONA_PATTERNS_MAINTENANCE = "weekly" } } # the daily steps too
      }
    }
  }
}

module "job" {
  source   = "./modules/job"
  for_each = local.jobs

  name       = each.key
  identity   = google_service_account.job[each.key].email
  project_id = var.project_id
  region     = var.region
  image      = var.jobs_image

  size = {
    cpu        = each.value.cpu
    memory_mib = each.value.memory_mib
    tasks      = each.value.tasks
    timeout_s  = each.value.timeout_s
    retries    = each.value.retries
  }

  network = {
    id     = google_compute_network.this.id
    subnet = google_compute_subnetwork.workloads.id
  }

  environment = merge(local.environment, local.sql_environment, {
    SONA_STORES_SQL_USER      = local.sql_users[each.key]
    SONA_STORES_SQL_POOL_SIZE = tostring(each.value.sql.pool)
    SONA_EMBEDDING_THREADS    = tostring(each.value.cpu)
    }, each.value.sql.right != "own" ? {} : {
    SONA_STORES_SQL_READERS = local.sql_rights["read"]
    SONA_STORES_SQL_WRITERS = local.sql_rights["write"]
  })
  redis = each.value.redis ? local.redis : null

  telemetry_roles = toset(var.telemetry ? local.telemetry_roles : [])

  sql       = true
  publishes = toset([])
  buckets = {
    (google_storage_bucket.this["models"].name)    = "roles/storage.objectViewer" # only operators write models
    (google_storage_bucket.this["snapshots"].name) = each.value.snapshots ? "roles/storage.objectUser" : "roles/storage.objectViewer"
  }

  schedules           = each.value.schedules
  timezone            = var.timezone
  scheduler_identity  = google_service_account.scheduler.email
  operators           = { deploy = "serviceAccount:${google_service_account.deploy.email}" }
  deletion_protection = var.deletion_protection
}

resource "google_service_account" "scheduler" {
  account_id   = "sona-scheduler"
  display_name = "SONA: starts jobs"
}
