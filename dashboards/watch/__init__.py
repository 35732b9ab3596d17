"""The dead man's watch: who has died, said by a process that needs none of those it watches."""
