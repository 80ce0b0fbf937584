"""`python -m runner sweep experiment=digits_vae`: a variational autoencoder of handwritten digits.

1,797 real images from scikit-learn, without labels; `train_step` and `test_step` of its own.
Expected on two CPU cores: about 4 s a trial after start-up.
Expected score: val_negative_elbo 24.6 nats for codes of 6 values or more and `beta` near 1; 26 to 27 at the ends of its
range.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import ops


def load_data(validation_fraction: float = 0.2) -> Any:
    """Loads images scaled to 0..1; there are no targets.

    Args:
        validation_fraction: fraction of the images held out, stratified by digit.

    Returns:
        `(x,), (x_val,)`, float32 [rows, 64].
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    x, x_val = train_test_split(
        (digits.data / 16.0).astype("float32"), test_size=validation_fraction, stratify=digits.target, random_state=0
    )
    return (x,), (x_val,)


@keras.saving.register_keras_serializable(package="digits_vae")
class VariationalAutoencoder(keras.Model):
    """Codes an image as a normal distribution, and draws pixels from a sample of that.

    Args:
        latent: values in a code.
        units: width of the hidden layers.
        beta: weight of the divergence of codes from a standard normal distribution in the loss.
    """

    def __init__(self, latent: int, units: int, beta: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.settings = {"latent": latent, "units": units, "beta": beta}
        self.beta = beta
        self.encoder = keras.Sequential([keras.layers.Dense(units, "relu"), keras.layers.Dense(2 * latent)])
        self.decoder = keras.Sequential([keras.layers.Dense(units, "relu"), keras.layers.Dense(64)])
        # Keras' generator belongs to the model: its state is a weight, so that a trial goes on with the same draws.
        self.seed_generator = keras.random.SeedGenerator()
        self.averages = {
            name: keras.metrics.Mean(name=name) for name in ("loss", "reconstruction", "divergence", "negative_elbo")
        }

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """Those that Keras resets at the beginning of an epoch."""
        return list(self.averages.values())

    def call(self, x: Any) -> Any:
        """Returns restored images, float32 [batch, 64], from the means of their codes."""
        mean, _ = ops.split(self.encoder(x), 2, axis=-1)
        return ops.sigmoid(self.decoder(mean))

    def train_step(self, x: Any) -> dict[str, Any]:
        """Makes one update with new samples of the codes."""
        with tf.GradientTape() as tape:
            loss = self._measure(x, self.seed_generator)
        self.optimizer.apply(tape.gradient(loss, self.trainable_weights), self.trainable_weights)
        return self.get_metrics_result()

    def test_step(self, x: Any) -> dict[str, Any]:
        """Evaluates with the same samples each time, so that a score can be had again from the exported model."""
        self._measure(x, seed=0)
        return self.get_metrics_result()

    def _measure(self, x: Any, seed: Any) -> Any:
        mean, log_variance = ops.split(self.encoder(x), 2, axis=-1)
        code = mean + ops.exp(log_variance / 2) * keras.random.normal(ops.shape(mean), seed=seed)
        pixels = keras.losses.binary_crossentropy(x, self.decoder(code), from_logits=True) * 64  # their sum, in nats
        divergence = ops.sum(ops.exp(log_variance) + mean**2 - 1 - log_variance, axis=-1) / 2
        loss = pixels + self.beta * divergence
        for name, value in zip(self.averages, (loss, pixels, divergence, pixels + divergence), strict=True):
            self.averages[name].update_state(value)
        return ops.mean(loss)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments, for saving."""
        return {**super().get_config(), **self.settings}


def build_model(latent: int = 8, units: int = 128, beta: float = 1.0, learning_rate: float = 3e-3) -> keras.Model:
    """Builds a compiled variational autoencoder; the arguments are those of the class.

    Losses with different `beta` do not compare. Settings are ranked by `val_negative_elbo`, the bound on the images'
    likelihood, which has a weight of 1 whatever was trained.
    """
    model = VariationalAutoencoder(latent, units, beta)
    model.compile(keras.optimizers.Adam(learning_rate))
    return model
