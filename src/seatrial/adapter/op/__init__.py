"""Custom operators: a new one in three pieces, and which of those a model calls a platform has."""
