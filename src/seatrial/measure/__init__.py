"""Measuring on a running service: load, comparison, search, the optimisation loop and its history.

Each subfolder has its own door; nothing here stores or prints.
"""
