"""What happens before training: the data set, its features, the plan and what it will cost."""
