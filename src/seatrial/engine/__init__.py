"""The engine: interpreters that have vLLM, how they are installed, and the border across which we ask them things."""
