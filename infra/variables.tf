variable "project_id" {
  description = "Google Cloud project; one per environment, so that names need no suffix."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "project_id must be a project id, not a project name or number."
  }
}

variable "environment" {
  description = "What this deployment is for: dev or prod. prod insists on protection and replicas."
  type        = string
  nullable    = false

  validation {
    condition     = contains(["dev", "prod"], var.environment)
    error_message = "environment must be dev or prod."
  }
}

variable "region" {
  description = "Region of everything that has one."
  type        = string
  default     = "europe-west1"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region must be a region such as europe-west1, not a zone."
  }
}

variable "source_object" {
  description = "Archive in the source bucket, as infra/source_archive.py names it after its content."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^source-[0-9a-f]{16}\\.zip$", var.source_object))
    error_message = "source_object must be source-<16 hexadecimal digits>.zip: a name that changes with the content."
  }
}

variable "jobs_image" {
  description = "Image of the jobs, by digest: a tag could mean another image tomorrow."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("@sha256:[0-9a-f]{64}$", var.jobs_image))
    error_message = "jobs_image must end in @sha256:<64 hexadecimal digits>."
  }
}

variable "auth" {
  description = "Who signs callers' tokens: issuer, audience and key set (JWKS) of the identity provider."
  type = object({
    issuer   = string
    audience = string
    jwks_url = string
  })
  nullable = false

  validation {
    condition     = startswith(var.auth.issuer, "https://") && startswith(var.auth.jwks_url, "https://")
    error_message = "auth.issuer and auth.jwks_url must be https:// addresses."
  }

  validation {
    condition     = length(var.auth.audience) > 0
    error_message = "auth.audience must not be empty: tokens for other services would be accepted."
  }
}

variable "callers" {
  description = "IAM members that may call the HTTPS functions directly (header X-Serverless-Authorization)."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition = alltrue([
      for member in var.callers : can(regex("^(serviceAccount|group|user):[^@ ]+@[^@ ]+$", member))
    ])
    error_message = "callers must be serviceAccount:, group: or user: members; nobody is let in anonymously."
  }
}

variable "publishers" {
  description = "IAM members that may publish to the topic interactions: platforms that stream events without an HTTPS call."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition = alltrue([
      for member in var.publishers : can(regex("^(serviceAccount|group|user):[^@ ]+@[^@ ]+$", member))
    ])
    error_message = "publishers must be serviceAccount:, group: or user: members; an event speaks for whom it names."
  }
}

variable "domain" {
  description = "Host name of the load balancer; null: no load balancer, functions are called directly through IAM."
  type        = string
  default     = null

  validation {
    condition     = var.domain == null ? true : can(regex("^([a-z0-9-]+\\.)+[a-z]{2,}$", var.domain))
    error_message = "domain must be a host name such as api.example.com."
  }
}

variable "rate_limit_per_minute" {
  description = "Requests per minute that Cloud Armor lets through from one address; with domain only. A platform's servers may share one: 600 is ten a second for all of its viewers."
  type        = number
  default     = 600
  nullable    = false

  validation {
    condition     = var.rate_limit_per_minute >= 10 && var.rate_limit_per_minute <= 100000
    error_message = "rate_limit_per_minute must be between 10 and 100000."
  }
}

variable "instances" {
  description = "Instances per function where they differ from the map in functions.tf: { name = { min, max } }."
  type = map(object({
    min = optional(number)
    max = optional(number)
  }))
  default  = {}
  nullable = false

  validation {
    condition     = length(setsubtract(keys(var.instances), keys(local.functions))) == 0
    error_message = "instances names a function that is not in functions.tf."
  }
}

variable "settings" {
  description = "Further SONA_... variables of every function and job, see core/config.py."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition = alltrue([
      for name in keys(var.settings) :
      can(regex("^SONA_((RANKING|ADAPTATION|PATTERNS|ROUTER|LIMITS|PRIVACY|TELEMETRY)_[A-Z0-9_]+|LOG_LEVEL|MAX_BODY_BYTES|SNAPSHOT_MAX_AGE_S|REQUEST_DEADLINE_S|ANSWER_TTL_S|IMPRESSIONS)$", name))
      && !contains(["SONA_ADAPTATION_TOPIC", "SONA_PRIVACY_KEYS", "SONA_PRIVACY_DEAD_LETTERS"], name)
    ])
    error_message = "settings may tune SONA_RANKING_, ADAPTATION_, PATTERNS_, ROUTER_, LIMITS_, PRIVACY_ and TELEMETRY_ variables, SONA_LOG_LEVEL, MAX_BODY_BYTES, SNAPSHOT_MAX_AGE_S, REQUEST_DEADLINE_S, ANSWER_TTL_S and IMPRESSIONS; the rest is Terraform's."
  }
}

variable "redis_memory_gb" {
  description = "Memory of Memorystore; about 14 KB per active user, so 5 GB hold 350 000."
  type        = number
  default     = 5
  nullable    = false

  validation {
    condition     = var.redis_memory_gb >= 1 && var.redis_memory_gb <= 300
    error_message = "redis_memory_gb must be between 1 and 300."
  }
}

variable "redis_tier" {
  description = "STANDARD_HA (a replica, fail-over) or, where an outage does not matter, BASIC."
  type        = string
  default     = "STANDARD_HA"
  nullable    = false

  validation {
    condition     = contains(["STANDARD_HA", "BASIC"], var.redis_tier)
    error_message = "redis_tier must be STANDARD_HA or BASIC."
  }

  validation {
    condition     = var.environment != "prod" || var.redis_tier == "STANDARD_HA"
    error_message = "prod needs redis_tier STANDARD_HA."
  }
}

variable "sql_tier" {
  description = "Machine of Cloud SQL, edition ENTERPRISE."
  type        = string
  default     = "db-custom-4-16384"
  nullable    = false

  validation {
    condition     = can(regex("^db-custom-[0-9]+-[0-9]+$", var.sql_tier))
    error_message = "sql_tier must be db-custom-<CPUs>-<MiB>."
  }
}

variable "sql_high_availability" {
  description = "A standby of Cloud SQL in a second zone."
  type        = bool
  default     = true
  nullable    = false

  validation {
    condition     = var.environment != "prod" || var.sql_high_availability
    error_message = "prod needs sql_high_availability."
  }
}

variable "sql_disk_gb" {
  description = "Disk of Cloud SQL to begin with; it grows by itself."
  type        = number
  default     = 50
  nullable    = false

  validation {
    condition     = var.sql_disk_gb >= 10
    error_message = "sql_disk_gb must be at least 10."
  }
}

variable "sql_max_connections" {
  description = "Connections that Cloud SQL accepts; the plan fails when all instances together could want more."
  type        = number
  default     = 400
  nullable    = false

  validation {
    condition     = var.sql_max_connections >= 50 && var.sql_max_connections <= 4000
    error_message = "sql_max_connections must be between 50 and 4000."
  }
}

variable "deletion_protection" {
  description = "Refuse to delete Cloud SQL, Memorystore and non-empty buckets."
  type        = bool
  default     = true
  nullable    = false

  validation {
    condition     = var.environment != "prod" || var.deletion_protection
    error_message = "prod needs deletion_protection."
  }
}

variable "gradual_rollout" {
  description = "New revisions get no traffic from Terraform: infra/rollout.py moves it in steps."
  type        = bool
  default     = true
  nullable    = false
}

variable "timezone" {
  description = "Time zone of the schedules."
  type        = string
  default     = "Etc/UTC"
  nullable    = false
}

variable "repository" {
  description = "GitHub repository whose pushes are built; null: builds are started by hand. prod waits for approval."
  type = object({
    owner  = string
    name   = string
    branch = string
  })
  default = null
}

variable "state_bucket" {
  description = "Bucket of the Terraform state, which sona-deploy may write; needed with repository."
  type        = string
  default     = null

  validation {
    condition     = var.repository == null || var.state_bucket != null
    error_message = "repository needs state_bucket."
  }
}

variable "telemetry" {
  description = "Export measurements and traces to Google's Telemetry API; the dashboard and half of the alerts live on them."
  type        = bool
  default     = true
  nullable    = false
}

variable "privacy_keys_version" {
  description = "Version of the secret sona-privacy-keys that workloads read; put in by hand, see secrets.tf."
  type        = string
  default     = "1"
  nullable    = false

  validation {
    condition     = can(regex("^[1-9][0-9]*$", var.privacy_keys_version))
    error_message = "privacy_keys_version must be a number: what `latest` is would differ between instances."
  }
}

variable "alert_emails" {
  description = "Addresses that alerts go to."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for address in var.alert_emails : can(regex("^[^@ ]+@[^@ ]+\\.[^@ ]+$", address))])
    error_message = "alert_emails must be e-mail addresses."
  }
}

variable "notification_channels" {
  description = "Existing channels of Cloud Monitoring that alerts go to as well: a pager, a chat."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for name in var.notification_channels : can(regex("^projects/[^/]+/notificationChannels/[0-9]+$", name))])
    error_message = "notification_channels must be names such as projects/my-project/notificationChannels/1234567890."
  }
}

variable "budget" {
  description = "Monthly budget of the project on a billing account, announced at 50, 90 and 100 %; null: none."
  type = object({
    billing_account = string
    amount          = number
    currency        = optional(string, "USD")
  })
  default = null

  validation {
    condition     = var.budget == null ? true : can(regex("^[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}$", var.budget.billing_account))
    error_message = "budget.billing_account must look like 012345-6789AB-CDEF01."
  }
}
