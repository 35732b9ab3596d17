"""What drives the detectors: the pure batch engine, and the loops that feed it from a log."""
