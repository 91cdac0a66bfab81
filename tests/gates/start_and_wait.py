"""A program that runs a gate against the stand-in, for tests that kill it: `start_and_wait.py TOML CHECKPOINT SCRATCH`.

Handles SIGTERM as the command line does. Prints a line once the server has been started.
"""

import signal
import sys
from pathlib import Path

from seatrial.core.errors import Stopped
from seatrial.engine.choose import target_python
from seatrial.gates import gate
from seatrial.targets import load_target


def stop(number, _frame):
    raise Stopped(number)


def main():
    signal.signal(signal.SIGTERM, stop)
    name = sys.argv[4] if len(sys.argv) > 4 else "stand-in"
    target = load_target(name, Path(sys.argv[1])).target

    def say(text):
        print(text, flush=True)

    result = gate(
        Path(sys.argv[2]), target, python=target_python(target), stage="real", scratch=Path(sys.argv[3]), say=say
    )
    print(result.facts.ending, flush=True)


if __name__ == "__main__":
    main()
