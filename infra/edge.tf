# The way in from the internet, with a domain only: certificate, load balancer, Cloud Armor, one backend per function.
locals {
  edge_functions = { for name, function in local.functions : name => function if var.domain != null && function.edge }
  edge           = var.domain == null ? 0 : 1
}

resource "google_compute_global_address" "edge" {
  count = local.edge

  name = "sona-edge"

  depends_on = [google_project_service.this]
}

# Authorised by DNS, so that the certificate is there before the first byte of traffic.
resource "google_certificate_manager_dns_authorization" "edge" {
  count = local.edge

  name   = "sona-edge"
  domain = var.domain

  depends_on = [google_project_service.this]
}

resource "google_certificate_manager_certificate" "edge" {
  count = local.edge

  name = "sona-edge"

  managed {
    domains            = [var.domain]
    dns_authorizations = [google_certificate_manager_dns_authorization.edge[0].id]
  }
}

resource "google_certificate_manager_certificate_map" "edge" {
  count = local.edge

  name = "sona-edge"

  depends_on = [google_project_service.this]
}

resource "google_certificate_manager_certificate_map_entry" "edge" {
  count = local.edge

  name         = "sona-edge"
  map          = google_certificate_manager_certificate_map.edge[0].name
  hostname     = var.domain
  certificates = [google_certificate_manager_certificate.edge[0].id]
}

resource "google_compute_ssl_policy" "edge" {
  count = local.edge

  name            = "sona-edge"
  profile         = "MODERN"
  min_tls_version = "TLS_1_2"

  depends_on = [google_project_service.this]
}

# One address at most so many requests a minute. The limit per user is the functions' own.
resource "google_compute_security_policy" "edge" {
  count = local.edge

  name = "sona-edge"
  type = "CLOUD_ARMOR"

  rule {
    description = "known exploits of Log4j and the like"
    action      = "deny(403)"
    priority    = 1000

    match {
      expr {
        expression = "evaluatePreconfiguredWaf('cve-canary')"
      }
    }
  }

  rule {
    description = "too many requests from one address"
    action      = "throttle"
    priority    = 2000

    match {
      versioned_expr = "SRC_IPS_V1"

      config {
        src_ip_ranges = ["*"]
      }
    }

    rate_limit_options {
      conform_action = "allow"
      exceed_action  = "deny(429)"
      enforce_on_key = "IP"

      rate_limit_threshold {
        count        = var.rate_limit_per_minute
        interval_sec = 60
      }
    }
  }

  rule {
    description = "everybody else"
    action      = "allow"
    priority    = 2147483647

    match {
      versioned_expr = "SRC_IPS_V1"

      config {
        src_ip_ranges = ["*"]
      }
    }
  }

  depends_on = [google_project_service.this]
}

resource "google_compute_region_network_endpoint_group" "edge" {
  for_each = local.edge_functions

  name                  = "sona-${replace(each.key, "_", "-")}"
  region                = var.region
  network_endpoint_type = "SERVERLESS"

  cloud_run {
    service = module.function[each.key].service
  }
}

resource "google_compute_backend_service" "edge" {
  for_each = local.edge_functions

  name                  = "sona-${replace(each.key, "_", "-")}"
  protocol              = "HTTPS"
  load_balancing_scheme = "EXTERNAL_MANAGED"
  security_policy       = google_compute_security_policy.edge[0].id

  # Keeps what an answer itself declares public: personal answers declare nothing, and a POST is never kept.
  enable_cdn = true

  cdn_policy {
    cache_mode       = "USE_ORIGIN_HEADERS"
    negative_caching = false

    cache_key_policy {
      include_host         = true
      include_protocol     = true
      include_query_string = true
    }
  }

  backend {
    group = google_compute_region_network_endpoint_group.edge[each.key].id
  }

  log_config {
    enable      = true
    sample_rate = 0.1
  }
}

resource "google_compute_url_map" "edge" {
  count = local.edge

  name            = "sona-edge"
  default_service = google_compute_backend_service.edge["recommend"].id # which answers 404 to paths it does not know

  host_rule {
    hosts        = [var.domain]
    path_matcher = "functions"
  }

  path_matcher {
    name            = "functions"
    default_service = google_compute_backend_service.edge["recommend"].id

    dynamic "path_rule" {
      for_each = local.edge_functions
      content {
        paths   = flatten([for path in path_rule.value.paths : [path, "${path}/*"]])
        service = google_compute_backend_service.edge[path_rule.key].id
      }
    }
  }
}

resource "google_compute_target_https_proxy" "edge" {
  count = local.edge

  name            = "sona-edge"
  url_map         = google_compute_url_map.edge[0].id
  certificate_map = "//certificatemanager.googleapis.com/${google_certificate_manager_certificate_map.edge[0].id}"
  ssl_policy      = google_compute_ssl_policy.edge[0].id
}

resource "google_compute_global_forwarding_rule" "edge" {
  count = local.edge

  name                  = "sona-edge"
  target                = google_compute_target_https_proxy.edge[0].id
  ip_address            = google_compute_global_address.edge[0].id
  port_range            = "443"
  load_balancing_scheme = "EXTERNAL_MANAGED"
}

# The way in as callers see it: name, certificate, load balancer, Cloud Armor. Asked every minute from several continents.
resource "google_monitoring_uptime_check_config" "edge" {
  count = local.edge

  display_name = "SONA edge"
  period       = "60s"
  timeout      = "10s"

  http_check {
    path         = "/health"
    port         = 443
    use_ssl      = true
    validate_ssl = true
  }

  monitored_resource {
    type   = "uptime_url"
    labels = { project_id = var.project_id, host = var.domain }
  }

  depends_on = [google_project_service.this]
}

resource "google_monitoring_alert_policy" "edge" {
  count = local.edge

  display_name          = "SONA: ${var.domain} cannot be reached"
  combiner              = "OR"
  severity              = "CRITICAL"
  notification_channels = local.notifications

  conditions {
    display_name = "two of the places that ask get no answer"

    condition_threshold {
      filter          = "metric.type=\"monitoring.googleapis.com/uptime_check/check_passed\" AND resource.type=\"uptime_url\" AND metric.labels.check_id=\"${google_monitoring_uptime_check_config.edge[0].uptime_check_id}\""
      comparison      = "COMPARISON_GT"
      threshold_value = 1 # one place alone may have lost its own way
      duration        = "120s"

      aggregations {
        alignment_period     = "120s"
        per_series_aligner   = "ALIGN_NEXT_OLDER"
        cross_series_reducer = "REDUCE_COUNT_FALSE"
        group_by_fields      = ["resource.labels.host"]
      }
    }
  }

  documentation {
    content = "Is the DNS record still ours, has the certificate been renewed, does Cloud Armor refuse the callers? The functions themselves have alerts of their own."
  }
}
