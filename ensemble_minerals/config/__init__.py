"""The configuration: YAML becomes one closed, frozen object, or one error that lists every problem."""
