"""seatrial: from a Hugging Face checkpoint to a running, proven model on vLLM, with the proof kept."""

__version__ = "0.1.0"
