# A push starts cloudbuild.yaml; in prod somebody has to approve it first.
resource "google_cloudbuild_trigger" "push" {
  count = var.repository == null ? 0 : 1

  name            = "sona-${var.environment}"
  location        = var.region
  service_account = google_service_account.deploy.id
  filename        = "cloudbuild.yaml"

  github {
    owner = var.repository.owner
    name  = var.repository.name

    push {
      branch = "^${var.repository.branch}$"
    }
  }

  substitutions = {
    _ENV          = var.environment
    _REGION       = var.region
    _STATE_BUCKET = var.state_bucket
  }

  approval_config {
    approval_required = var.environment == "prod"
  }

  depends_on = [google_project_service.this]
}
