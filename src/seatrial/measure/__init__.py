"""Measuring a served model: accuracy, load and the time it takes."""
