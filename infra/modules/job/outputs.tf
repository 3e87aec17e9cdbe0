output "name" {
  value = google_cloud_run_v2_job.this.name
}

output "identity" {
  description = "E-mail of the service account."
  value       = google_service_account.this.email
}
