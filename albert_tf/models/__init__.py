"""The models a user instantiates: `AlbertEncoder`, and one class for each head on it.

`config` is the model's shape; H, E, V, L stand for its hidden_size, embedding_size, vocab_size and
num_hidden_layers. `**kwargs` are arguments of `tf_keras.Model`: `name`, and `dtype`, for instance
"mixed_bfloat16". The arguments of `call` are explained at `AlbertEncoder.call`.
"""
