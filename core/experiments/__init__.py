"""Controlled experiments: who sees which variant, what may vary, and when a difference is one."""
