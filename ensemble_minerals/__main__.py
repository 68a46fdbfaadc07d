"""``python -m ensemble_minerals`` is the command line."""

from ensemble_minerals.cli.app import main

if __name__ == "__main__":
    main()
