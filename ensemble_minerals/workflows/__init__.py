"""What each command does, a file each: fit, predict, inspect, report, ablate, explain, distill, export, demo."""
