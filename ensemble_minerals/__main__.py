"""The program: ``ensemble-minerals``, or ``python -m ensemble_minerals``."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from contextlib import suppress

from ensemble_minerals.cli import interruption

_WITH_WORKERS = {"joblib", "torch"}
"""Libraries whose threads and processes Python ends in order."""


def main() -> None:
    """Run the command line; an interruption while it is still imported ends with words, too."""
    gc.set_threshold(10_000)  # what is imported is no garbage: the search took a twentieth of a photo's time
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # it would search all installed packages
    try:
        interruption.heed_sigterm()
        from ensemble_minerals.cli.app import main as run
    except KeyboardInterrupt as error:
        word, code = interruption.ending(error)
        print(f"{word}: {interruption.AGAIN}", file=sys.stderr)
        sys.exit(code)
    try:
        run()
    except SystemExit as ending:
        if (
            isinstance(ending.code, int)
            and "openvino" in sys.modules
            and not _WITH_WORKERS & set(sys.modules)
        ):
            _end(ending.code)
        raise
    finally:
        gc.freeze()  # all that is left would be searched for garbage, for a third of a second after a fit


def _end(code: int) -> None:
    """End the process without unloading OpenVINO, which takes a tenth of the time of a photo."""
    with suppress(OSError, ValueError, AttributeError):  # Python says what cannot be written
        sys.stdout.flush()
        sys.stderr.flush()
        atexit._run_exitfuncs()
        os._exit(code)


if __name__ == "__main__":
    main()
