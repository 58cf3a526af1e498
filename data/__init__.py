"""The catalogue of sources and how each becomes spans."""
