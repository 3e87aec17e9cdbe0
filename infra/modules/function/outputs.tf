output "service" {
  description = "Name of the Cloud Run service beneath."
  value       = google_cloudfunctions2_function.this.name
}

output "uri" {
  value = google_cloudfunctions2_function.this.service_config[0].uri
}

output "ingress" {
  value = google_cloudfunctions2_function.this.service_config[0].ingress_settings
}

output "invokers" {
  description = "Who may call the service."
  value       = [for member in google_cloud_run_v2_service_iam_member.invoker : member.member]
}

output "telemetry_roles" {
  description = "What it may do to export measurements and traces."
  value       = [for grant in google_project_iam_member.telemetry : grant.role]
}
