"""The A/B front door: assigns variants, forwards to a model server, logs impressions, takes feedback."""
