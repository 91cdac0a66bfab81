"""Baidu Kunlun XPUs (P800) by the vLLM-Kunlun plugin."""
