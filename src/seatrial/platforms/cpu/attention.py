"""No rule of its own: vLLM's registry of attention backends decides here, and only the engine can be asked."""

from __future__ import annotations

from seatrial.platforms.rules import AttentionRules

RULES = AttentionRules()
