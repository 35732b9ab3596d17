"""Looking at keyframes and listening to sound, beside the recording path, in processes that may die."""
