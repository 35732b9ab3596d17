"""Everything that moves: devices to the log, the log to workers, workers to the store."""
