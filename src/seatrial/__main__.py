"""`python -m seatrial`: the same program as the console script."""

from seatrial.cli.main import entry

if __name__ == "__main__":
    entry()
