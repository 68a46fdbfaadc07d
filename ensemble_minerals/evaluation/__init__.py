"""Statistics of answers: metrics, intervals, tests, error analysis. Draws nothing."""
