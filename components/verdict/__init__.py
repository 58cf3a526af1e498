"""Judges what TFMA computed: gates in, verdict with its reasons out."""
