"""Keras layers of ALBERT: the paper, one idea a file.

`config` is the model's shape; H, E, V, L stand for its hidden_size, embedding_size, vocab_size and
num_hidden_layers. `scope` is the prefix of the variables' names. `**kwargs` are arguments of
`tf_keras.layers.Layer`, such as `dtype`.
"""
