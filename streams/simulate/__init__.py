"""Recorders and cameras that behave, and misbehave, on a script: clients of a running system, nothing of its inside."""
