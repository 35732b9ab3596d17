"""The regulations as data: what must be kept, how long, and by when. Pure."""

from policies.loader import load, names

__all__ = ["load", "names"]
