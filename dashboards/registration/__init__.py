"""Registering cameras of sites, and the ledger of recorders: what people enter, and what the log is told of it."""
