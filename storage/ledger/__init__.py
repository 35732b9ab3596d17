"""The custody ledger: an append-only Merkle log, its signed checkpoints and their copies. See `ledger.Ledger`."""
