"""Asks a SavedModel in a fresh process, as a server would, and reports its answers and how long they took."""
