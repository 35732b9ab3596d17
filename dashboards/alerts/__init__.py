"""Findings become alerts: one matter, one message, somebody who looks after it."""
