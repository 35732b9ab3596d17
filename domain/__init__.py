"""Nouns and wire formats of Liuhen: what everything else speaks in. Pure; imports nothing else of ours."""
