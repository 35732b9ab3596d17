"""The wall: what is shown of each recorder, kept drawn, and sent to those who watch when it changes."""
