"""Fine-tuning a network in phases, with early stopping on an inner part of its rows.

`estimator` is the entrance, with scikit-learn's interface. It describes a `job`, and `train` opens a `session` for
it: the network is built, the rows are split (`inner_split`) and oversampled. Then it trains one phase after the other
(`phase`) in skorch's loop (`skorch_net`) with `callbacks`. `resume` is how an interrupted training continues.

`mlp` is separate: the multilayer perceptron of a head on features has a training loop of its own.
"""
