"""Processes that read the log and write to it or to the store."""
