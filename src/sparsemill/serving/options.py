"""What the command lines of load have in common: how much is asked."""

import argparse
import math

from sparsemill.serving.measure import Load


def positive(text: str) -> int:
    """A whole number above 0, for `argparse`."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


def _not_negative(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 on")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return value


def add_load(parser: argparse.ArgumentParser, *, rounds: int, warmup: int) -> None:
    """Add the options that `load_of` reads, with the defaults given."""
    parser.add_argument("--clients", type=positive, nargs="+", default=[5, 10, 20, 40, 80])
    parser.add_argument("--requests", type=positive, default=1000, help="of one round (default: 1000)")
    parser.add_argument("--seconds", type=_seconds, default=30.0, help="longest time of one round (default: 30)")
    parser.add_argument(
        "--rounds", type=positive, default=rounds, help=f"how often the searches take turns (default: {rounds})"
    )
    parser.add_argument(
        "--warmup",
        type=_not_negative,
        default=warmup,
        help=f"requests before each round that are not counted (default: {warmup})",
    )


def load_of(given: argparse.Namespace) -> Load:
    """How much is asked, by the options of `add_load`."""
    return Load(given.clients, given.requests, given.seconds, given.rounds, given.warmup)
