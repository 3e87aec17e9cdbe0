# Images: of the jobs, whose tags never move, and of the functions, where the buildpack moves its own.
locals {
  repositories = {
    jobs      = { immutable_tags = true }
    functions = { immutable_tags = false }
  }
}

resource "google_artifact_registry_repository" "this" {
  for_each = local.repositories

  repository_id = "sona-${each.key}"
  location      = var.region
  format        = "DOCKER"
  description   = "Images of SONA's ${each.key}"

  docker_config {
    immutable_tags = each.value.immutable_tags
  }

  cleanup_policies {
    id     = "keep-recent"
    action = "KEEP"

    most_recent_versions {
      keep_count = 20
    }
  }

  cleanup_policies {
    id     = "delete-old"
    action = "DELETE"

    condition {
      older_than = "7776000s" # 90 days
    }
  }

  depends_on = [google_project_service.this]
}
