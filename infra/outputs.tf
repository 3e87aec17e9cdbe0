output "functions" {
  description = "Address of every function's own service; behind a load balancer they answer internal callers only."
  value       = { for name, function in module.function : name => function.uri }
}

output "services" {
  description = "Function -> Cloud Run service, for infra/rollout.py."
  value       = { for name, function in module.function : name => function.service }
}

output "jobs" {
  description = "Job -> Cloud Run job."
  value       = { for name, job in module.job : name => job.name }
}

output "api" {
  description = "Where clients call; null without a load balancer."
  value       = var.domain == null ? null : "https://${var.domain}"
}

output "edge_address" {
  description = "What the domain's A record must hold."
  value       = var.domain == null ? null : google_compute_global_address.edge[0].address
}

output "edge_certificate_record" {
  description = "DNS record that lets Google issue the certificate."
  value       = var.domain == null ? null : google_certificate_manager_dns_authorization.edge[0].dns_resource_record
}

output "source_bucket" {
  description = "Where archives of infra/source_archive.py go."
  value       = google_storage_bucket.this["source"].name
}

output "buckets" {
  description = "Kind -> bucket."
  value       = { for kind, bucket in google_storage_bucket.this : kind => bucket.name }
}

output "images" {
  description = "Repository that the jobs' image is pushed to."
  value       = "${var.region}-docker.pkg.dev/${var.project_id}/${google_artifact_registry_repository.this["jobs"].repository_id}"
}

output "topics" {
  description = "Topics by name; platforms publish interactions with the user as ordering key."
  value       = { for name, topic in google_pubsub_topic.this : name => topic.id }
}

output "deploy_identity" {
  description = "Service account that cloudbuild.yaml runs as."
  value       = google_service_account.deploy.email
}

output "operator_identity" {
  description = "Service account of machines on which people use the command line."
  value       = google_service_account.operator.email
}

output "operator_environment" {
  description = "What `sona` must be told on such a machine, as a shell script; it fetches the secrets and holds none."
  value = join("\n", concat(
    [for name, value in local.operator_environment : "export ${name}='${replace(value, "'", "'\\''")}'"],
    [
      for name, secret in local.redis.environment :
      "export ${name}=\"$(gcloud secrets versions access ${secret.version} --secret=${secret.secret} --project=${var.project_id})\""
    ],
    [
      "gcloud secrets versions access ${local.redis.file.version} --secret=${local.redis.file.secret} --project=${var.project_id} > \"$HOME/sona-${local.redis.file.name}\"",
      "export ${local.redis.file.variable}=\"$HOME/sona-${local.redis.file.name}\"",
    ],
  ))
}
