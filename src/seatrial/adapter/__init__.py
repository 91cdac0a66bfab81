"""What is missing between a checkpoint and an engine is written here, and nothing else; and plugin code is judged."""
