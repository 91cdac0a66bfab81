"""An upstream model file as a plugin's own: copied by rule, registered, and carried to the next version by a merge."""
