"""The copy of all evidence in a second store, out of reach of what may happen to the first."""
