"""`python -m runner sweep experiment=digits_gan`: a generator of handwritten digits and a critic that judges it.

1,797 real images from scikit-learn; a `train_step` of its own with two optimizers.
Expected on two CPU cores: about 8 s a trial after start-up.
Expected score: val_frechet_distance 0.4. Critics that learn slower than their generators are the ones that are stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops


def load_data(latent: int = 16) -> Any:
    """Loads images scaled to 0..1.

    Args:
        latent: values in a row of noise.

    Returns:
        `(x,), (x_val, noise)`: images float32 [rows, 64]; the validation ones come with the noise of as many generated
        images, float32 [rows, latent], so that every epoch and every trial is judged by the same draws.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    x, x_val = train_test_split(
        (digits.data / 16.0).astype("float32"), test_size=0.25, stratify=digits.target, random_state=0
    )
    return (x,), (x_val, np.random.default_rng(0).normal(size=(len(x_val), latent)).astype("float32"))


@keras.saving.register_keras_serializable(package="digits_gan")
class FrechetDistance(keras.metrics.Metric):
    """Distance between two sets of images, as that of two normal distributions with their means and covariances.

    The losses of a generator and a critic say nothing about quality, because each is relative to the other. This does:
    unseen digits score about 0.14, noise with the digits' own mean and covariance, cut to 0..1, 0.31, the digits from 0
    to 4 alone 0.66. On large images the features of a trained classifier take the place of the pixels.

    Source: Dowson and Landau, https://doi.org/10.1016/0047-259X(82)90077-X, formula (4).
    """

    def __init__(self, name: str = "frechet_distance", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.count = self.add_weight(name="count", initializer="zeros")
        self.sums = self.add_weight(name="sums", shape=(2, 64), initializer="zeros")
        self.products = self.add_weight(name="products", shape=(2, 64, 64), initializer="zeros")

    def update_state(self, real: Any, generated: Any, sample_weight: Any = None) -> None:
        """Adds a batch of each, float32 [batch, 64]."""
        both = ops.stack([real, generated])
        self.count.assign_add(ops.cast(ops.shape(real)[0], "float32"))
        self.sums.assign_add(ops.sum(both, axis=1))
        self.products.assign_add(ops.matmul(ops.transpose(both, (0, 2, 1)), both))

    def result(self) -> Any:
        """Returns |m₁ - m₂|² + tr(C₁ + C₂ - 2 (C₁ C₂)^½)."""
        count = ops.maximum(self.count, 1.0)
        means = self.sums / count
        covariances = self.products / count - means[:, :, None] * means[:, None, :]
        values, vectors = ops.eigh(covariances[0])
        root = ops.matmul(vectors * ops.sqrt(ops.maximum(values, 0.0)), ops.transpose(vectors))
        mixed, _ = ops.eigh(ops.matmul(ops.matmul(root, covariances[1]), root))
        traces = ops.trace(covariances[0]) + ops.trace(covariances[1])
        return ops.sum((means[0] - means[1]) ** 2) + traces - 2 * ops.sum(ops.sqrt(ops.maximum(mixed, 0.0)))


def mlp(units: int, between: Callable[[], keras.layers.Layer], last: keras.layers.Layer) -> keras.Sequential:
    """Two hidden layers, with something `between` their weights and their activations."""
    layers: list[keras.layers.Layer] = []
    for _ in range(2):
        layers += [keras.layers.Dense(units), between(), keras.layers.LeakyReLU(0.2)]
    return keras.Sequential([*layers, last])


@keras.saving.register_keras_serializable(package="digits_gan")
class Adversaries(keras.Model):
    """A generator and the critic that it has to deceive.

    Args:
        latent: values in a row of noise.
        units: width of the hidden layers.
    """

    def __init__(self, latent: int, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.latent, self.units = latent, units
        self.generator = mlp(units, keras.layers.BatchNormalization, keras.layers.Dense(64, "sigmoid"))
        self.critic = mlp(units, lambda: keras.layers.Dropout(0.3), keras.layers.Dense(1))
        self.seed_generator = keras.random.SeedGenerator()
        self.generator_loss = keras.metrics.Mean(name="generator_loss")
        self.critic_loss = keras.metrics.Mean(name="critic_loss")
        self.distance = FrechetDistance()

    def compile(self, generator_optimizer: Any, critic_optimizer: Any) -> None:
        """Takes one optimizer for each."""
        super().compile()
        self.generator_optimizer, self.critic_optimizer = generator_optimizer, critic_optimizer

    def call(self, noise: Any, training: bool = False) -> Any:
        """Returns images, float32 [batch, 64], of noise, float32 [batch, latent]: what the exported model is for."""
        return self.generator(noise, training=training)

    def train_step(self, real: Any) -> dict[str, Any]:
        """Makes one update of each, on the same generated images."""
        noise = keras.random.normal((ops.shape(real)[0], self.latent), seed=self.seed_generator)
        with tf.GradientTape(persistent=True) as tape:
            generated = self.generator(noise, training=True)
            judged_real, judged_generated = self.critic(real, training=True), self.critic(generated, training=True)
            # Real images count as 0.9, not 1: a critic that is too sure of itself leaves no gradient.
            critic_loss = _loss(0.9, judged_real) + _loss(0.0, judged_generated)
            generator_loss = _loss(1.0, judged_generated)
        for network, loss, optimizer in (
            (self.generator, generator_loss, self.generator_optimizer),
            (self.critic, critic_loss, self.critic_optimizer),
        ):
            weights = network.trainable_weights
            optimizer.apply(tape.gradient(loss, weights), weights)
        self.generator_loss.update_state(generator_loss)
        self.critic_loss.update_state(critic_loss)
        return {"generator_loss": self.generator_loss.result(), "critic_loss": self.critic_loss.result()}

    def test_step(self, data: Any) -> dict[str, Any]:
        """Compares what is generated of the validation noise with the validation images."""
        real, noise = data
        self.distance.update_state(real, self.generator(noise, training=False))
        return {"frechet_distance": self.distance.result()}

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments, for saving."""
        return {**super().get_config(), "latent": self.latent, "units": self.units}


def _loss(target: float, judged: Any) -> Any:
    """Mean binary cross-entropy of the critic's logits."""
    return ops.mean(ops.binary_crossentropy(ops.full_like(judged, target), judged, from_logits=True))


def build_model(
    latent: int = 16, units: int = 128, generator_rate: float = 5e-4, critic_rate: float = 5e-4
) -> keras.Model:
    """Builds and compiles both networks.

    Args:
        latent: as in `load_data`.
        units: width of the hidden layers.
        generator_rate: learning rate of the generator's Adam.
        critic_rate: learning rate of the critic's Adam.
    """
    model = Adversaries(latent, units)
    model.compile(keras.optimizers.Adam(generator_rate, beta_1=0.5), keras.optimizers.Adam(critic_rate, beta_1=0.5))
    return model
