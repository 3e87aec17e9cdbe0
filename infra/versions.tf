terraform {
  required_version = ">= 1.11"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 7.46, < 9.0"
    }
  }

  # The bucket and prefix come from -backend-config, one pair per environment. State holds Memorystore's AUTH string,
  # so that bucket is private and versioned.
  backend "gcs" {}
}

provider "google" {
  project = var.project_id
  region  = var.region

  default_labels = {
    application = "sona"
    environment = var.environment
  }
}

# The Budget API asks a person's credentials which project's quota they use; the other APIs do not.
provider "google" {
  alias = "budgets"

  project               = var.project_id
  billing_project       = var.project_id
  user_project_override = true
}

data "google_project" "this" {
  project_id = var.project_id
}
