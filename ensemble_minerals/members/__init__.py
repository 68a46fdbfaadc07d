"""What is trained in every fold: flat, one-vs-rest and hierarchical classifiers over any head."""
