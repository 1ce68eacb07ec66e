"""The command line: `tasearch`, or `python -m tasearch`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; Ctrl-C ends it in silence while it is imported, too."""
    try:
        from tasearch.cli.commands import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
