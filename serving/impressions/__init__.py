"""What users were shown and what they did: written by gateways as Parquet, joined by the rollout's controller."""
