"""Footage that somebody asks for: applications, decisions, copies, and the register of it all."""
