"""What the console says to people, by language."""
