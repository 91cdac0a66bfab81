"""For agents: the skills (short workflows that call the commands) and the MCP server (the commands as tools)."""

from seatrial.agents.skills import AGENTS, Skill, install, read_skills, uninstall

__all__ = ["AGENTS", "Skill", "install", "read_skills", "uninstall"]
