"""The program of a helper process of `chrome`: one JSON request on standard input, columns on standard output."""

from __future__ import annotations

import gc
import json
import sys

from seatrial.measure.profile.readers.chrome import helper_main

if __name__ == "__main__":
    gc.disable()
    helper_main(json.loads(sys.stdin.buffer.read()), sys.stdout.buffer)
    sys.stdout.buffer.flush()
