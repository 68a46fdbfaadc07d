"""The program: ``ensemble-minerals``, or ``python -m ensemble_minerals``."""

from __future__ import annotations

import sys

from ensemble_minerals.cli import interruption


def main() -> None:
    """Run the command line; an interruption while it is still imported ends with words, too."""
    try:
        interruption.heed_sigterm()
        from ensemble_minerals.cli.app import main as run
    except KeyboardInterrupt as error:
        word, code = interruption.ending(error)
        print(f"{word}: {interruption.AGAIN}", file=sys.stderr)
        sys.exit(code)
    run()


if __name__ == "__main__":
    main()
