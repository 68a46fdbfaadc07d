"""The verbs of the program, one a file: fit, predict, inspect, report, ablate, explain, distill, export, demo."""
