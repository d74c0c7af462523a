"""Latency and throughput of searches that some server, such as a cluster, answers at an address.

python -m sparsemill.serving.address --clients 5 10 20 40 80 \\
    --ask nothing http://localhost:9200/texts/_search nothing.jsonl \\
    --ask bm25 http://localhost:9200/texts/_search bm25.jsonl \\
    --ask ours http://localhost:9200/vectors/_search ours.jsonl

Every line of a file is the body of a request. `nothing` touches no document ({"query": {"match_none": {}}}): the fixed
cost. Each other search but the baseline is compared with the baseline. The answer is JSON, ratios first.
"""

import argparse
import base64
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sparsemill.errors import UserError, told
from sparsemill.serving.measure import ask, report
from sparsemill.serving.options import add_load, load_of
from sparsemill.serving.server import NOTHING
from sparsemill.trust import is_private


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sparsemill.serving.address", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--ask", nargs=3, action="append", required=True, metavar=("NAME", "URL", "FILE"))
    parser.add_argument("--baseline", default="bm25", help="the search that others are compared with (default: bm25)")
    add_load(parser, rounds=2, warmup=200)
    parser.add_argument(
        "--credentials", metavar="X", help="user and password are the environment variables X_USER and X_PASSWORD"
    )
    parser.add_argument("--ca-file", metavar="FILE", help="certificates to trust (default: those of the system)")
    return parser.parse_args(argv)


def _headers(credentials: str | None, urls: Sequence[str]) -> dict[str, str]:
    if credentials is None:
        return {}
    for url in urls:
        if not is_private(url):
            raise UserError(f"--ask: {url}: a password is sent over https only; change it, or leave out --credentials")
    try:
        pair = ":".join(os.environ[f"{credentials}_{name}"] for name in ("USER", "PASSWORD"))
    except KeyError as error:
        raise UserError(f"--credentials {credentials}: the environment has no {error.args[0]}") from None
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def _bodies(path: Path) -> list[str]:
    try:
        # Not splitlines(): it also cuts at characters that a JSON text may hold.
        lines = [line for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8; convert the file") from None
    if not lines:
        raise UserError(f"{path}: holds no request; a line is the body of one")
    return lines


def _measure(given: argparse.Namespace) -> dict[str, float]:
    headers = _headers(given.credentials, [url for _, url, _ in given.ask])
    same = {"headers": headers, "repeatable": False, "ca_file": given.ca_file}
    targets: dict[str, dict[str, Any]] = {
        name: {"urls": [url], "bodies": _bodies(Path(file)), **same} for name, url, file in given.ask
    }
    if len(targets) < len(given.ask):
        raise UserError("--ask: a name is given twice; every search needs its own")
    for name in (NOTHING, given.baseline):
        if name not in targets:
            raise UserError(f"--ask: there is no {name}; it is needed to compare with")
    found = ask(targets, load=load_of(given))
    reports = [
        report(found, name, {given.baseline: given.baseline}, engine=name) for name in targets if name != NOTHING
    ]
    measured = [item for one in reports for item in one.items()]
    return dict(sorted(measured, key=lambda item: "/" not in item[0]))


@told
def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    print(json.dumps(_measure(_parse(argv)), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
