"""Pure state machines that read the log and say what is missing, broken or late; one file each."""
