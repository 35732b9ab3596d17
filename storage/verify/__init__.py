"""Is the evidence what it was? Objects, locks and ledger against each other; see docs/design/verification.md."""
