# Values for offline plans and for nothing else.
project_id    = "demo-project"
source_object = "source-0123456789abcdef.zip"
jobs_image    = "europe-west1-docker.pkg.dev/demo-project/sona-jobs/jobs@sha256:0000000000000000000000000000000000000000000000000000000000000000"

auth = {
  issuer   = "https://issuer.example.com"
  audience = "sona"
  jwks_url = "https://issuer.example.com/jwks"
}
