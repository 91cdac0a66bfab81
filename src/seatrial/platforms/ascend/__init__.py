"""Ascend NPUs (Atlas A2, A3) by the vllm-ascend plugin."""
