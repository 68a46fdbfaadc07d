"""Classifiers that a specialist can be: logistic regression and a small neural network."""
