"""A plugin's own accuracy configs held against what its test code reads: which keys are dead, which are missing.

Run: PYTHONPATH=src python bench/deliver_dialect.py CHECKOUT (an unpacked vllm-ascend source archive will do). Every file
there runs in the project's own CI, so each finding is a fault of theirs or of ours.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from seatrial.delivery.accuracy_yaml import CONFIGS, MAIN_TEST, TESTS, loaded
from seatrial.delivery.check.yaml_rules import key_findings
from seatrial.delivery.yaml_dialect import dialect_of, merge


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", type=Path)
    top = parser.parse_args().checkout
    began = time.perf_counter()
    tests = sorted((top / TESTS).glob("test_*.py"), key=lambda f: f.name != Path(MAIN_TEST).name)
    dialect = merge(dialect_of(f.read_text(encoding="utf-8"), f.name) for f in tests)
    print(f"{len(tests)} test files read {len(dialect.read)} keys; dialect: {dialect.kind}")
    files = sorted((top / CONFIGS).glob("*.yaml"))
    count = 0
    for file in files:
        for finding in key_findings(dialect, file.name, loaded(file.read_text(encoding="utf-8"), file.name)):
            count += 1
            print(f"  {finding.one_line()}")
    print(f"{len(files)} configs, {count} findings, {time.perf_counter() - began:.2f} s")


if __name__ == "__main__":
    main()
