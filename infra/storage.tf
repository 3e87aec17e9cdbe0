# snapshots: snapshots, base generations and what train_base trains. models: the text encoder. source: the functions'
# archives.
locals {
  buckets = {
    models    = { noncurrent_days = 90 }
    snapshots = { noncurrent_days = 14 }
    source    = { noncurrent_days = 30 }
  }
}

resource "google_storage_bucket" "this" {
  for_each = local.buckets

  name                        = "${var.project_id}-sona-${each.key}"
  location                    = var.region
  storage_class               = "STANDARD"
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = !var.deletion_protection

  versioning {
    enabled = true
  }

  soft_delete_policy {
    retention_duration_seconds = 604800 # a week to notice
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      days_since_noncurrent_time = each.value.noncurrent_days
      with_state                 = "ARCHIVED" # only what was replaced or deleted: live objects never expire
    }
  }

  depends_on = [google_project_service.this]
}
