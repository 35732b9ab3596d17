"""The HTTP API for devices: telemetry, sessions, explanations, what a device still holds."""
