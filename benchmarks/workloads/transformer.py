"""W4: a transformer of two layers, width 128, on sequences of 64 tokens, batch 32."""

from __future__ import annotations

import keras
import numpy as np

from runner import Data

_LENGTH, _WIDTH, _TOKENS = 64, 128, 256


def load_data(rows: int = 1_920) -> Data:
    """`(x, y)`: x int32 [rows, 64] of 256 tokens, y int64 [rows]: which of 4 marked tokens is the most frequent."""
    rng = np.random.default_rng(0)
    y = np.arange(rows) % 4
    x = rng.integers(4, _TOKENS, size=(rows, _LENGTH))
    marked = rng.random(size=x.shape) < 0.2
    return Data(train=(np.where(marked, y[:, None], x).astype("int32"), y))


def build_model() -> keras.Model:
    """Embedding, two blocks of attention and feed-forward, mean over the sequence."""
    layers = keras.layers
    tokens = keras.Input((_LENGTH,), dtype="int32")
    x = layers.Embedding(_TOKENS, _WIDTH)(tokens)
    for _ in range(2):
        attended = layers.MultiHeadAttention(4, _WIDTH // 4)(x, x)
        x = layers.LayerNormalization()(layers.Add()([x, attended]))
        fed = layers.Dense(_WIDTH)(layers.Dense(4 * _WIDTH, activation="gelu")(x))
        x = layers.LayerNormalization()(layers.Add()([x, fed]))
    output = layers.Dense(4, activation="softmax")(layers.GlobalAveragePooling1D()(x))
    model = keras.Model(tokens, output)
    model.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
