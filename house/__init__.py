"""The parts put together: what runs in one process; the only package that knows all the others."""
