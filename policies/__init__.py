"""The regulations as data: what must be kept, how long, and by when. Pure."""
