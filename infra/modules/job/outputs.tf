output "name" {
  value = google_cloud_run_v2_job.this.name
}

output "telemetry_roles" {
  description = "What it may do to export measurements and traces."
  value       = [for grant in google_project_iam_member.telemetry : grant.role]
}
