"""The commands of `liuhen`, and the files that settings and options name."""
