"""Members in folds, the meta-learner over their out-of-fold probabilities, and its calibration."""
