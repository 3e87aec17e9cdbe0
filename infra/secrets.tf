locals {
  # ssl_check_hostname: the certificate authority is this one instance's own, so a certificate that it signed proves the
  # instance; the certificate need not name the address.
  redis_url = format(
    "rediss://:%s@%s:%s/0?ssl_check_hostname=false",
    urlencode(google_redis_instance.hot.auth_string), google_redis_instance.hot.host, google_redis_instance.hot.port,
  )

  secrets = {
    redis-url = local.redis_url
    redis-ca  = join("\n", google_redis_instance.hot.server_ca_certs[*].cert) # old and new one while they rotate
  }
}

resource "google_secret_manager_secret" "this" {
  for_each = local.secrets

  secret_id           = "sona-${each.key}"
  deletion_protection = var.deletion_protection

  replication {
    user_managed {
      replicas {
        location = var.region
      }
    }
  }

  depends_on = [google_project_service.this]
}

resource "google_secret_manager_secret_version" "this" {
  for_each = local.secrets

  secret      = google_secret_manager_secret.this[each.key].id
  secret_data = each.value

  lifecycle {
    create_before_destroy = true
  }
}

# Keys of the names that stand for users where their ids must not be: in Memorystore, and in the tombstones of the
# erased. The keys are put in by a person and never by Terraform, whose state would hold them:
#   python -c 'import secrets; print(secrets.token_urlsafe(48), end="")' | gcloud secrets versions add sona-privacy-keys --data-file=-
resource "google_secret_manager_secret" "privacy_keys" {
  secret_id           = "sona-privacy-keys"
  deletion_protection = var.deletion_protection # without them nobody could tell that a late event is an erased user's

  replication {
    user_managed {
      replicas {
        location = var.region
      }
    }
  }

  depends_on = [google_project_service.this]
}

locals {
  # What a workload reads of Memorystore, by version: a rotated secret makes a new revision.
  redis = {
    environment = {
      SONA_PRIVACY_KEYS = {
        secret  = google_secret_manager_secret.privacy_keys.secret_id
        version = var.privacy_keys_version
      }
      SONA_STORES_REDIS_URL = {
        secret  = google_secret_manager_secret.this["redis-url"].secret_id
        version = google_secret_manager_secret_version.this["redis-url"].version
      }
    }
    file = {
      variable = "SONA_STORES_REDIS_CA_FILE"
      folder   = "/etc/sona/redis"
      name     = "ca.pem"
      secret   = google_secret_manager_secret.this["redis-ca"].secret_id
      version  = google_secret_manager_secret_version.this["redis-ca"].version
    }
  }
}
