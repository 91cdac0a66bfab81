"""Probes: stdlib-only files run by the engine's interpreter, never imported by seatrial.

Each defines `probe(request, progress)`: `request` is plain JSON data, `progress` takes a line of text for the person
waiting, and the return value is plain JSON data. A probe may import torch, vLLM or a plugin; it never prints an answer.
"""
