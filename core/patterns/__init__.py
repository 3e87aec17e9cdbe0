"""Patterns: what worked, for which kind of query. Clustered from trajectories, found again by similarity."""
