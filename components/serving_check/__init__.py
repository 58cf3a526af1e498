"""Proves, before a model may be pushed, that a server gives the answers that were judged, in time."""
