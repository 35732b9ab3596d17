"""Footage that devices deliver later: tus 1.0 uploads and a watched folder, up to a whole, verified file."""
