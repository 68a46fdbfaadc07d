"""Training a network in phases, with early stopping on an inner part of its rows."""
