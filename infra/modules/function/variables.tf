variable "name" {
  description = "File stem in functions/, which is also the entry point."
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

variable "build" {
  description = "The archive, who builds it and where the image goes."
  type = object({
    bucket          = string
    object          = string
    service_account = string
    repository      = string
  })
  nullable = false
}

variable "size" {
  description = "concurrency is the number of threads too; max_instances bounds what the stores must bear."
  type = object({
    cpu           = number
    memory_mib    = number
    concurrency   = number
    timeout_s     = number
    min_instances = number
    max_instances = number
  })
  nullable = false

  validation {
    condition     = var.size.cpu >= 1 || var.size.concurrency == 1
    error_message = "Cloud Run serves one request at a time with less than one CPU."
  }

  validation {
    condition     = var.size.min_instances <= var.size.max_instances
    error_message = "min_instances must not exceed max_instances."
  }
}

variable "needs_mib" {
  description = "What the process and the snapshots in its memory-backed /tmp take."
  type        = number
  nullable    = false

  validation {
    condition     = var.size.memory_mib >= var.needs_mib
    error_message = "An instance needs ${var.needs_mib} MiB, its memory is ${var.size.memory_mib} MiB."
  }
}

variable "network" {
  type = object({
    id     = string
    subnet = string
  })
  nullable = false
}

variable "ingress" {
  type     = string
  nullable = false
}

variable "latest_takes_traffic" {
  type     = bool
  nullable = false
}

variable "environment" {
  type     = map(string)
  nullable = false
}

variable "redis" {
  description = "Secrets of the hot store, as variables and as a file."
  type = object({
    environment = map(object({ secret = string, version = string }))
    file        = object({ variable = string, folder = string, name = string, secret = string, version = string })
  })
  nullable = false
}

variable "invokers" {
  description = "IAM members by a name that is known at plan time."
  type        = map(string)
  nullable    = false
}

variable "publishes" {
  description = "Topics this function publishes to."
  type        = set(string)
  nullable    = false
}

variable "buckets" {
  description = "Bucket -> role."
  type        = map(string)
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

variable "subscription" {
  description = "The topic whose messages are pushed to this function; null: called over HTTPS."
  type = object({
    topic              = string
    dead_letter_topic  = string
    push_identity      = string
    audience           = string
    pubsub_agent       = string
    ack_deadline_s     = number
    delivery_attempts  = number
    oldest_retained_s  = number
    longest_retry_wait = number
  })
  default = null
}
