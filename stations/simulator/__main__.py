"""``python -m stations.simulator``: the fleet without Django, for children that shall start fast."""

from __future__ import annotations

import argparse
import logging
import sys

import orjson

from stations.simulator import cli


def main() -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m stations.simulator", description="Simulated charging stations")
    cli.add_arguments(parser)
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        summary = cli.run(options)
    except (OSError, ValueError, TypeError) as error:
        parser.error(str(error))
    sys.stdout.write(orjson.dumps(summary).decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
