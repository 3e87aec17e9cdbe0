# One identity per workload; what each may do stands in its module.
resource "google_service_account" "function" {
  for_each = local.functions

  account_id   = "sona-fn-${replace(each.key, "_", "-")}"
  display_name = "SONA: function ${each.key}"
}

resource "google_service_account" "job" {
  for_each = local.jobs

  account_id   = "sona-job-${replace(each.key, "_", "-")}"
  display_name = "SONA: job ${each.key}"
}

# Two identities for two trades: `build` turns the archive into the functions' images, `deploy` runs cloudbuild.yaml.
# Neither is any workload's, and no workload may do what they may.
resource "google_service_account" "build" {
  account_id   = "sona-build"
  display_name = "SONA: builds functions"
}

resource "google_project_iam_member" "build_logs" {
  project = var.project_id
  role    = "roles/logging.logWriter"
  member  = "serviceAccount:${google_service_account.build.email}"
}

resource "google_storage_bucket_iam_member" "build_reads_source" {
  bucket = google_storage_bucket.this["source"].name
  role   = "roles/storage.objectViewer"
  member = "serviceAccount:${google_service_account.build.email}"
}

resource "google_artifact_registry_repository_iam_member" "build_pushes" {
  location   = var.region
  repository = google_artifact_registry_repository.this["functions"].name
  role       = "roles/artifactregistry.writer"
  member     = "serviceAccount:${google_service_account.build.email}"
}

resource "google_service_account" "deploy" {
  account_id   = "sona-deploy"
  display_name = "SONA: plans, migrates, applies, rolls out"
}

locals {
  # Predefined roles for what the configuration contains; no owner, no editor.
  deploy_roles = toset([
    "roles/artifactregistry.admin",
    "roles/certificatemanager.owner",
    "roles/cloudbuild.builds.editor",
    "roles/cloudfunctions.admin",
    "roles/cloudscheduler.admin",
    "roles/cloudsql.admin",
    "roles/compute.loadBalancerAdmin",
    "roles/compute.networkAdmin",
    "roles/compute.securityAdmin",
    "roles/iam.serviceAccountAdmin",
    "roles/iam.serviceAccountUser",
    "roles/logging.logWriter",
    "roles/logging.viewer",
    "roles/monitoring.editor",
    "roles/pubsub.admin",
    "roles/redis.admin",
    "roles/run.admin",
    "roles/secretmanager.admin",
    "roles/serviceusage.serviceUsageAdmin",
    "roles/storage.admin",
  ])

  # What it may grant on the project: what workloads need there. Its own roles come from the first apply, by an owner.
  workload_roles = concat(["roles/cloudsql.client", "roles/cloudsql.instanceUser"], local.telemetry_roles)

  # What sending measurements and traces to Google's Telemetry API takes.
  telemetry_roles = ["roles/serviceusage.serviceUsageConsumer", "roles/telemetry.writer"]
}

resource "google_project_iam_member" "deploy" {
  for_each = local.deploy_roles

  project = var.project_id
  role    = each.key
  member  = "serviceAccount:${google_service_account.deploy.email}"
}

resource "google_project_iam_member" "deploy_grants" {
  project = var.project_id
  role    = "roles/resourcemanager.projectIamAdmin"
  member  = "serviceAccount:${google_service_account.deploy.email}"

  condition {
    title      = "only-the-roles-of-sona"
    expression = "api.getAttribute('iam.googleapis.com/modifiedGrantsByRole', []).hasOnly(${jsonencode(local.workload_roles)})"
  }
}

# Cloud Build gives a step an identity token only where the identity may make its own: infra/smoke.py asks functions with it.
resource "google_service_account_iam_member" "deploy_identifies_itself" {
  service_account_id = google_service_account.deploy.name
  role               = "roles/iam.serviceAccountOpenIdTokenCreator"
  member             = "serviceAccount:${google_service_account.deploy.email}"
}

resource "google_storage_bucket_iam_member" "deploy_state" {
  count = var.state_bucket == null ? 0 : 1

  bucket = var.state_bucket
  role   = "roles/storage.objectUser"
  member = "serviceAccount:${google_service_account.deploy.email}"
}
