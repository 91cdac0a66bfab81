"""Accuracy: does the served model answer as the reference does, and if not, where does it part?"""
