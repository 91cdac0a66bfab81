"""NVIDIA GPUs by vLLM itself, no plugin."""
