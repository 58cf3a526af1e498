"""Ingest one span of raw records as TFX Examples: on columns where it is small, in Beam where it is not."""
