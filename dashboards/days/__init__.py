"""A recorder's day, or a session, on one timeline: what was recorded, what is missing and why, how the device was."""
