"""The catalogue: what is in the store and what the console shows, in SQLite or PostgreSQL. See `catalog.Catalog`."""
