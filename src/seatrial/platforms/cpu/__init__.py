"""The CPU: vLLM without an accelerator, one process or one per core group."""
