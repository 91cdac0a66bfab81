"""The optimisation loop: events, the state machine over them, the stop rules."""

from seatrial.measure.loop.events import Event, read_event
from seatrial.measure.loop.rules import Held, next_step, stop_rules
from seatrial.measure.loop.state import Round, State, after, state_of

__all__ = ["Event", "Held", "Round", "State", "after", "next_step", "read_event", "state_of", "stop_rules"]
