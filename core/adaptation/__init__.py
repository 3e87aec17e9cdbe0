"""How SONA learns: low-rank adapters in three tiers, their losses and gradients, what protects old knowledge, and the
loops."""
