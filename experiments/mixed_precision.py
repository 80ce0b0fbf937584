"""`python -m runner sweep experiment=mixed_precision`: the same network in 32 and in 16 bits.

1,797 real images of 8 by 8 pixels from scikit-learn. On a GPU 16 bits take half the memory for activations, and large
layers compute several times as fast. A CPU gains speed only with large layers and instructions for bfloat16, but what
16 bits cost in accuracy is the same there.
Expected on two CPU cores: about 4 s a trial after start-up.
Expected score: val_loss 0.05 (accuracy 0.99) for all three: 16 bits cost less here than another seed.
"""

from __future__ import annotations

from typing import Any, Literal

import keras


def load_data(validation_fraction: float = 0.3) -> Any:
    """Loads digits scaled to 0..1, in 32 bits: the first layer casts them.

    Args:
        validation_fraction: fraction of the rows held out, stratified by class.

    Returns:
        `(x, y), (x_val, y_val)` with x float32 [rows, 8, 8, 1] and y int64 [rows].
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    images = (digits.images / 16.0).astype("float32")[..., None]
    x, x_val, y, y_val = train_test_split(
        images, digits.target, test_size=validation_fraction, stratify=digits.target, random_state=0
    )
    return (x, y), (x_val, y_val)


def build_model(
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32",
    output: Literal["float32", "same"] = "float32",
    filters: int = 16,
    learning_rate: float = 3e-3,
) -> keras.Model:
    """Builds a small convolutional network.

    Args:
        precision: Keras' policy. The mixed ones compute in 16 bits and keep weights in 32. bfloat16 has the range of
            float32 and needs nothing else; float16 is more precise, but small gradients become zero, so that
            `compile` scales the loss. Most CPUs compute float16 very slowly.
        output: what the classifier computes in. Keras' advice is float32 at the end of a network, because probabilities
            near 1 are 0.4 % apart in bfloat16; `same`, as the other layers, says what that matters.
        filters: filters of the first convolution; the second has twice as many.
        learning_rate: learning rate of Adam.
    """
    keras.config.set_dtype_policy(precision)  # for the layers below; the sweep's other trials set their own
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(filters, 3, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(2 * filters, 3, padding="same", activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(10, activation="softmax", dtype="float32" if output == "float32" else None),
        ]
    )
    model.compile(keras.optimizers.Adam(learning_rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
