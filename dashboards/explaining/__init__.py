"""Stops of recordings, what is owed for them, and what people say of them."""
