"""How long evidence is kept: classes, holds, locks, and what is deleted when its time is over."""
