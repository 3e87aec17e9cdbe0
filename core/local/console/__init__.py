"""The console: one page on which people watch the engine learn; only the laptop edition serves it."""
