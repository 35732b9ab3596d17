"""Views of files that were delivered later: the same pictures and sound in a container that a browser plays."""
