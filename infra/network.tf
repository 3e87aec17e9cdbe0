# One private network: functions and jobs leave their subnet for Memorystore and Cloud SQL only.
resource "google_compute_network" "this" {
  name                    = "sona"
  auto_create_subnetworks = false

  depends_on = [google_project_service.this]
}

resource "google_compute_subnetwork" "workloads" {
  name                     = "sona-workloads"
  network                  = google_compute_network.this.id
  region                   = var.region
  ip_cidr_range            = "10.8.0.0/22" # direct VPC egress takes about two addresses per instance
  private_ip_google_access = true

  log_config {
    aggregation_interval = "INTERVAL_10_MIN"
    flow_sampling        = 0.1
    metadata             = "INCLUDE_ALL_METADATA"
  }
}

# Private service access: Google's side of the network, where Memorystore and Cloud SQL get their addresses.
resource "google_compute_global_address" "private_services" {
  name          = "sona-private-services"
  network       = google_compute_network.this.id
  purpose       = "VPC_PEERING"
  address_type  = "INTERNAL"
  prefix_length = 20
}

resource "google_service_networking_connection" "private_services" {
  network                 = google_compute_network.this.id
  service                 = "servicenetworking.googleapis.com"
  reserved_peering_ranges = [google_compute_global_address.private_services.name]
}
