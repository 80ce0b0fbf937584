"""Models that train by a step of their own, most of them without `call`, as in Keras' generative examples."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from .case import BATCH, Case, images

SIDE = (8, 8, 1)


def _encoder(size: int, outputs: int = 1) -> keras.Model:
    inputs = keras.Input(SIDE)
    x = layers.Dense(8, activation="relu")(layers.Flatten()(inputs))
    found = [layers.Dense(size)(x) for _ in range(outputs)]
    return keras.Model(inputs, found if outputs > 1 else found[0])


def _decoder(latent: int, activation: str = "sigmoid") -> keras.Model:
    return keras.Sequential([keras.Input((latent,)), layers.Dense(64, activation=activation), layers.Reshape(SIDE)])


def only_images() -> Any:
    from runner import Data

    (x, _), (x_val, _) = images()
    return Data(train=(x,), validation=(x_val,))


def only_training_images() -> Any:
    from runner import Data

    return Data(train=(images()[0][0],))


def image_batches() -> Any:
    from runner import Data

    return Data(train=tf.data.Dataset.from_tensor_slices(images()[0][0]).batch(BATCH))


class Autoencoder(keras.Model):
    """A variational autoencoder whose loss is arithmetic on the batch itself."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = _encoder(2, outputs=2), _decoder(2)
        self.trackers = [keras.metrics.Mean(name=name) for name in ("loss", "reconstruction", "divergence")]
        self.seeds = keras.random.SeedGenerator(7)

    @property
    def metrics(self) -> list[Any]:
        return self.trackers

    def losses_of(self, x: Any, training: bool) -> list[Any]:
        mean, spread = self.encoder(x)
        z = (
            mean
            if not training
            else mean + ops.exp(0.5 * spread) * keras.random.normal(ops.shape(mean), seed=self.seeds)
        )
        reconstruction = ops.mean(ops.sum(ops.square(x - self.decoder(z)), axis=(1, 2, 3)))
        divergence = -0.5 * ops.mean(ops.sum(1 + spread - ops.square(mean) - ops.exp(spread), axis=1))
        return [reconstruction + divergence, reconstruction, divergence]

    def _logs(self, losses: list[Any]) -> dict[str, Any]:
        for tracker, value in zip(self.trackers, losses, strict=True):
            tracker.update_state(value)
        return {tracker.name: tracker.result() for tracker in self.trackers}

    def train_step(self, x: Any) -> dict[str, Any]:
        with tf.GradientTape() as tape:
            losses = self.losses_of(x, training=True)
        gradients = tape.gradient(losses[0], self.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
        return self._logs(losses)

    def test_step(self, x: Any) -> dict[str, Any]:
        return self._logs(self.losses_of(x, training=False))  # draws nothing: an export's seeds begin again


def variational_autoencoder() -> keras.Model:
    model = Autoencoder()
    model.compile(optimizer=keras.optimizers.Adam(1e-2))
    return model


class Adversaries(keras.Model):
    """A generator and a critic with an optimizer each, the critic trained twice a step with a gradient penalty."""

    def __init__(self) -> None:
        super().__init__()
        self.critic = keras.Sequential(
            [keras.Input(SIDE), layers.Flatten(), layers.Dense(8, "leaky_relu"), layers.Dense(1)]
        )
        self.generator = _decoder(4)
        self.seeds = keras.random.SeedGenerator(11)
        self.critic_loss, self.loss_tracker = keras.metrics.Mean(name="critic"), keras.metrics.Mean(name="loss")

    @property
    def metrics(self) -> list[Any]:
        return [self.critic_loss, self.loss_tracker]

    def compile(self, critic_optimizer: Any, generator_optimizer: Any) -> None:
        super().compile()
        self.critic_optimizer, self.generator_optimizer = critic_optimizer, generator_optimizer

    def _fake(self, real: Any) -> Any:
        return self.generator(keras.random.normal((ops.shape(real)[0], 4), seed=self.seeds))

    def _train_critic(self, real: Any) -> Any:
        fake = self._fake(real)
        with tf.GradientTape() as tape:
            share = keras.random.uniform((ops.shape(real)[0], 1, 1, 1), seed=self.seeds)
            between = real + share * (fake - real)
            with tf.GradientTape() as inner:
                inner.watch(between)
                judged = self.critic(between)
            norm = ops.sqrt(1e-6 + ops.sum(ops.square(inner.gradient(judged, between)), axis=(1, 2, 3)))
            loss = ops.mean(self.critic(fake)) - ops.mean(self.critic(real)) + ops.mean(ops.square(norm - 1))
        weights = self.critic.trainable_weights
        self.critic_optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return loss

    def train_step(self, real: Any) -> dict[str, Any]:
        for _ in range(2):
            self.critic_loss.update_state(self._train_critic(real))
        with tf.GradientTape() as tape:
            loss = -ops.mean(self.critic(self._fake(real)))
        weights = self.generator.trainable_weights
        self.generator_optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        self.loss_tracker.update_state(loss)
        return {metric.name: metric.result() for metric in self.metrics}


def adversaries() -> keras.Model:
    model = Adversaries()
    model.compile(keras.optimizers.Adam(1e-3), keras.optimizers.RMSprop(1e-3))
    return model


class Diffusion(keras.Model):
    """Learns to take noise off; a second network follows the first as its moving average."""

    def __init__(self) -> None:
        super().__init__()
        self.normalizer = layers.Normalization()
        self.network = keras.Sequential([keras.Input(SIDE), layers.Conv2D(4, 3, padding="same", activation="swish")])
        self.network.add(layers.Conv2D(1, 3, padding="same"))
        self.average = keras.models.clone_model(self.network)
        self.tracker = keras.metrics.Mean(name="loss")

    @property
    def metrics(self) -> list[Any]:
        return [self.tracker]

    def train_step(self, x: Any) -> dict[str, Any]:
        x = self.normalizer(x, training=True)
        noise = keras.random.normal(ops.shape(x))
        angle = keras.random.uniform((ops.shape(x)[0], 1, 1, 1), maxval=1.5)
        with tf.GradientTape() as tape:
            guessed = self.network(ops.cos(angle) * x + ops.sin(angle) * noise)
            loss = self.loss(noise, guessed)
        weights = self.network.trainable_weights
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        for weight, average in zip(self.network.weights, self.average.weights, strict=True):
            average.assign(0.9 * average + 0.1 * weight)
        self.tracker.update_state(loss)
        return {"loss": self.tracker.result()}


def diffusion() -> keras.Model:
    model = Diffusion()
    model.normalizer.adapt(images()[0][0])
    model.compile(keras.optimizers.Adam(1e-2), loss=keras.losses.MeanAbsoluteError())
    return model


def triplets() -> Any:
    def batches(x: np.ndarray, y: np.ndarray) -> Any:
        alike = x[[np.flatnonzero(y == label)[0] for label in y]]
        other = x[[np.flatnonzero(y != label)[0] for label in y]]
        return tf.data.Dataset.from_tensor_slices((x, alike, other)).batch(BATCH)  # three inputs, and no target

    return tuple(batches(*split) for split in images())


class Siamese(keras.Model):
    """Elements are (anchor, positive, negative)."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = keras.Sequential([keras.Input(SIDE), layers.Flatten(), layers.Dense(8, "relu"), layers.Dense(4)])
        self.tracker = keras.metrics.Mean(name="loss")

    @property
    def metrics(self) -> list[Any]:
        return [self.tracker]

    def call(self, x: Any) -> Any:
        return self.embed(x)

    def _loss(self, data: Any) -> Any:
        anchor, positive, negative = (self.embed(part) for part in data)
        near, far = (ops.sum(ops.square(anchor - other), axis=-1) for other in (positive, negative))
        return ops.maximum(near - far + 0.5, 0.0)

    def train_step(self, data: Any) -> dict[str, Any]:
        with tf.GradientTape() as tape:
            loss = self._loss(data)
        weights = self.embed.trainable_weights
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        self.tracker.update_state(loss)
        return {"loss": self.tracker.result()}

    def test_step(self, data: Any) -> dict[str, Any]:
        self.tracker.update_state(self._loss(data))
        return {"loss": self.tracker.result()}


def siamese() -> keras.Model:
    model = Siamese()
    model.compile(optimizer=keras.optimizers.Adam(1e-2), weighted_metrics=[])
    return model


class Contrastive(keras.Model):
    """Two augmented views of each image recognise each other; a slower encoder and a queue of its outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.augment = keras.Sequential([layers.RandomFlip(seed=3), layers.GaussianNoise(0.1, seed=5)])
        self.encoder, self.slow = _encoder(4), _encoder(4)
        self.queue = self.add_weight(shape=(8, 4), initializer="random_normal", trainable=False, name="queue")
        self.tracker = keras.metrics.Mean(name="loss")

    @property
    def metrics(self) -> list[Any]:
        return [self.tracker]

    def train_step(self, x: Any) -> dict[str, Any]:
        views = [self.augment(x, training=True) for _ in range(2)]
        keys = ops.normalize(self.slow(views[1]))
        with tf.GradientTape() as tape:
            queries = ops.normalize(self.encoder(views[0]))
            logits = ops.matmul(queries, ops.transpose(ops.concatenate([keys, self.queue])))
            labels = ops.arange(ops.shape(queries)[0])
            loss = ops.mean(keras.losses.sparse_categorical_crossentropy(labels, logits / 0.1, from_logits=True))
        weights = self.encoder.trainable_weights
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        for weight, slow in zip(self.encoder.weights, self.slow.weights, strict=True):
            slow.assign(0.99 * slow + 0.01 * weight)
        self.queue.assign(ops.concatenate([keys, self.queue])[:8])
        self.tracker.update_state(loss)
        return {"loss": self.tracker.result()}


def contrastive() -> keras.Model:
    model = Contrastive()
    model.compile(optimizer=keras.optimizers.Adam(1e-2))
    return model


CASES = {
    "variational_autoencoder": Case(variational_autoencoder, only_images),
    "adversaries": Case(adversaries, only_training_images),
    "diffusion": Case(diffusion, image_batches),
    "siamese": Case(siamese, triplets),
    "contrastive": Case(contrastive, image_batches),
}
