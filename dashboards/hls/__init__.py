"""Pictures for watching: HLS with CMAF fragments, live from the log and later from the store."""
