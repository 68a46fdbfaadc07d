"""Out-of-fold probabilities, the meta-learner over them, and its calibration."""
