output "name" {
  value = google_cloud_run_v2_job.this.name
}

output "identity" {
  description = "E-mail of the service account."
  value       = google_service_account.this.email
}

output "telemetry_roles" {
  description = "What it may do to export measurements and traces."
  value       = [for grant in google_project_iam_member.telemetry : grant.role]
}
