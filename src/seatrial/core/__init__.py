"""Words that at least two folders share. Nothing here knows of a checkpoint, an engine or a terminal."""
