"""The log: the implementations of `domain.bus`. `connect` chooses one by its address."""
