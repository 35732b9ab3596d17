"""Footage that must not be deleted, and what has come to its end: what people decide about it."""
