"""What the ensemble gains over a single model, and what each ingredient adds: arms, outer folds, comparison, page."""
