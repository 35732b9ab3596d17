"""What supervisors look at: figures, spot checks, leads."""
