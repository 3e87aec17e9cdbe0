variable "name" {
  description = "File stem in functions/."
  type        = string
  nullable    = false
}

variable "identity" {
  description = "E-mail of the service account that it runs as, and nothing else does."
  type        = string
  nullable    = false
}

variable "project_id" {
  type     = string
  nullable = false
}

variable "region" {
  type     = string
  nullable = false
}

variable "image" {
  type     = string
  nullable = false
}

variable "size" {
  type = object({
    cpu        = number
    memory_mib = number
    tasks      = number
    timeout_s  = number
    retries    = number
  })
  nullable = false
}

variable "network" {
  type = object({
    id     = string
    subnet = string
  })
  nullable = false
}

variable "environment" {
  type     = map(string)
  nullable = false
}

variable "redis" {
  description = "Secrets of the hot store, as variables and as a file; null: the job never asks it."
  type = object({
    environment = map(object({ secret = string, version = string }))
    file        = object({ variable = string, folder = string, name = string, secret = string, version = string })
  })
  default = null
}

variable "buckets" {
  description = "Bucket -> role."
  type        = map(string)
  nullable    = false
}

variable "publishes" {
  description = "Topics this job publishes to."
  type        = set(string)
  nullable    = false
}

variable "telemetry_roles" {
  description = "Roles on the project that exporting measurements and traces takes; none: it exports nothing."
  type        = set(string)
  default     = []
  nullable    = false
}

variable "sql" {
  description = "Whether it connects to Cloud SQL."
  type        = bool
  nullable    = false
}

variable "schedules" {
  description = "Name -> when (cron) it starts, and with which variables besides its own."
  type = map(object({
    cron        = string
    environment = optional(map(string), {})
  }))
  nullable = false
}

variable "timezone" {
  type     = string
  nullable = false
}

variable "scheduler_identity" {
  description = "E-mail of the service account that starts jobs."
  type        = string
  nullable    = false
}

variable "operators" {
  description = "IAM members that may start it, by a name that is known at plan time."
  type        = map(string)
  nullable    = false
}

variable "deletion_protection" {
  type     = bool
  nullable = false
}
