# A cheap environment: nothing replicated, nothing kept warm, everything deletable.
environment           = "dev"
redis_tier            = "BASIC"
redis_memory_gb       = 1
sql_tier              = "db-custom-1-3840"
sql_high_availability = false
sql_disk_gb           = 10
sql_max_connections   = 150
deletion_protection   = false
gradual_rollout       = false

instances = {
  recommend   = { max = 6 }
  collect     = { max = 4 }
  profiles    = { max = 2 }
  adapters    = { max = 4 }
  patterns    = { max = 2 }
  router      = { max = 2 }
  attention   = { max = 2 }
  experiments = { max = 2 }
  ingest      = { max = 5 }
  adapt       = { max = 4 }
}
