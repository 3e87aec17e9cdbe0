# The specification's sizes: 5 GB of Memorystore with a replica, Cloud SQL with a standby, protection against deletion.
environment           = "prod"
redis_tier            = "STANDARD_HA"
redis_memory_gb       = 5
sql_tier              = "db-custom-4-16384"
sql_high_availability = true
sql_disk_gb           = 100
sql_max_connections   = 400
deletion_protection   = true
gradual_rollout       = true
rate_limit_per_minute = 600
