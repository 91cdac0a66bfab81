"""A model file for an architecture that no engine has, from the checkpoint's own names; and a plugin to hold it."""
