"""A look at a camera before it is registered."""
