"""What a running model does, measured: load, accuracy and profiles."""
