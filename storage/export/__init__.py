"""Evidence packages: what leaves the house, and how anybody can prove it."""
