"""The configuration: YAML becomes one closed, frozen object, or an error that lists every problem."""
