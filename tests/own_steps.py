"""Models in the manner of the public Keras examples: steps of their own, and state that Keras does not list.

As in `models.py`: each works with plain `model.fit(..., shuffle=False, epochs=2, batch_size=32)`.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from runner import Data

ROWS, VALIDATION_ROWS, FEATURES, BATCH = 70, 40, 8, 32


def _rows(rows: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, FEATURES)).astype("float32")


TRAIN, VALIDATION = _rows(ROWS, 0), _rows(VALIDATION_ROWS, 1)


def load_unlabelled() -> Data:
    return Data(train=(TRAIN,), validation=(VALIDATION,))


def load_unlabelled_training() -> Data:
    return Data(train=(TRAIN,))


def load_stream() -> Data:
    return Data(train=tf.data.Dataset.from_tensor_slices(TRAIN).batch(BATCH))


def load_pairs() -> Data:
    views = {"one": TRAIN, "other": TRAIN + 0.1 * _rows(ROWS, 2)}
    return Data(train=tf.data.Dataset.from_tensor_slices(views).batch(BATCH))


def load_triplets() -> Any:
    train, validation = (
        tf.data.Dataset.from_tensor_slices((x, x + 0.1, x[::-1])).batch(BATCH) for x in (TRAIN, VALIDATION)
    )
    return train, validation


def load_nested() -> Data:
    tokens, more = (np.abs(x * 5).astype("int64") % 7 for x in (TRAIN, VALIDATION))
    return Data(train=((tokens, TRAIN), TRAIN[:, 0] > 0), validation=((more, VALIDATION), VALIDATION[:, 0] > 0))


def load_ragged_and_sparse() -> Data:
    lengths = 1 + np.arange(ROWS) % 5
    words = tf.RaggedTensor.from_row_lengths(np.arange(lengths.sum()) % 7, lengths)
    marks = tf.sparse.from_dense(np.where(TRAIN > 1, TRAIN, 0))
    return Data(train=tf.data.Dataset.from_tensor_slices(((words, marks), TRAIN[:, 0])).batch(BATCH))


class Autoencoder(keras.Model):
    """A variational one without `call`: its own arithmetic takes a batch as `fit` gives it, which is not a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = layers.Dense(4), layers.Dense(FEATURES)
        self.seeds = keras.random.SeedGenerator(7)
        self.trackers = [keras.metrics.Mean(name=name) for name in ("total", "reconstruction")]

    @property
    def metrics(self) -> list[Any]:
        return self.trackers

    def _both(self, data: Any) -> tuple[Any, Any]:
        mean, spread = ops.split(self.encoder(data), 2, axis=-1)
        hidden = mean + ops.exp(0.5 * spread) * keras.random.normal(ops.shape(mean), seed=self.seeds)
        reconstruction = ops.mean(ops.sum(ops.square(data - self.decoder(hidden)), axis=-1))
        return reconstruction - ops.mean(1 + spread - ops.square(mean) - ops.exp(spread)), reconstruction

    def _logs(self, losses: tuple[Any, Any]) -> dict[str, Any]:
        for tracker, loss in zip(self.trackers, losses, strict=True):
            tracker.update_state(loss)
        return {"loss": self.trackers[0].result(), "part": {"reconstruction": self.trackers[1].result()}, "tenth": 0.1}

    def train_step(self, data: Any) -> dict[str, Any]:
        with tf.GradientTape() as tape:
            losses = self._both(data)
        self.optimizer.apply(tape.gradient(losses[0], self.trainable_weights), self.trainable_weights)
        return self._logs(losses)

    def test_step(self, data: Any) -> dict[str, Any]:
        return self._logs(self._both(data))


class Adversaries(keras.Model):
    """Two models and two optimizers, the critic's with steps of their own and a penalty on its gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.critic = keras.Sequential([layers.Dense(8), layers.LeakyReLU(), layers.Dense(1)])
        self.generator = keras.Sequential([keras.Input((3,)), layers.Dense(8, "tanh"), layers.Dense(FEATURES)])
        self.seeds = keras.random.SeedGenerator(7)

    def compile(self, critic_optimizer: Any, generator_optimizer: Any, **settings: Any) -> None:
        super().compile(**settings)
        self.critic_optimizer, self.generator_optimizer = critic_optimizer, generator_optimizer

    def _made(self, like: Any) -> Any:
        return self.generator(keras.random.normal((ops.shape(like)[0], 3), seed=self.seeds), training=True)

    def _penalty(self, real: Any, made: Any) -> Any:
        between = made + keras.random.uniform((ops.shape(real)[0], 1), seed=self.seeds) * (real - made)
        with tf.GradientTape() as tape:
            tape.watch(between)
            judged = self.critic(between, training=True)
        return ops.mean(ops.square(ops.norm(tape.gradient(judged, between), axis=1) - 1.0))

    def train_step(self, real: Any) -> dict[str, Any]:
        for _ in range(2):
            with tf.GradientTape() as tape:
                made = self._made(real)
                critic_loss = ops.mean(self.critic(made)) - ops.mean(self.critic(real)) + self._penalty(real, made)
            weights = self.critic.trainable_weights
            self.critic_optimizer.apply(tape.gradient(critic_loss, weights), weights)
        with tf.GradientTape() as tape:
            loss = -ops.mean(self.critic(self._made(real)))
        weights = self.generator.trainable_weights
        if self.run_eagerly and float(loss) > 1e6:
            raise ValueError("a value decides, which no symbolic build has")
        self.generator_optimizer.apply(tape.gradient(loss, weights), weights)
        return {"loss": loss, "critic_loss": critic_loss}


class Diffusion(keras.Model):
    """Its network's average is kept by its step, its noise comes from Keras' global generator."""

    def __init__(self) -> None:
        super().__init__()
        self.normalizer = layers.Normalization()
        self.network = keras.Sequential(
            [keras.Input((FEATURES + 1,)), layers.Dense(8, "swish"), layers.Dense(FEATURES)]
        )
        self.average = keras.models.clone_model(self.network)

    def compile(self, **settings: Any) -> None:
        super().compile(**settings)
        self.tracker = keras.metrics.Mean(name="noise_loss")

    @property
    def metrics(self) -> list[Any]:
        return [self.tracker]

    def _loss(self, rows: Any, network: Any) -> Any:
        rows = self.normalizer(rows)
        noise, time = keras.random.normal(ops.shape(rows)), keras.random.uniform((ops.shape(rows)[0], 1))
        return self.loss(noise, network(ops.concatenate([time * noise + (1 - time) * rows, time], axis=1)))

    def train_step(self, rows: Any) -> dict[str, Any]:
        with tf.GradientTape() as tape:
            loss = self._loss(rows, self.network)
        self.optimizer.apply(tape.gradient(loss, self.network.trainable_weights), self.network.trainable_weights)
        for average, weight in zip(self.average.weights, self.network.weights, strict=True):
            average.assign(0.9 * average + 0.1 * weight)
        self.tracker.update_state(loss)
        return {metric.name: metric.result() for metric in self.metrics}

    def test_step(self, rows: Any) -> dict[str, Any]:
        self.tracker.update_state(self._loss(rows, self.average))
        return {metric.name: metric.result() for metric in self.metrics}


class Contrastive(keras.Model):
    """Two encoders, a queue of earlier features, batches that are dicts."""

    def __init__(self) -> None:
        super().__init__()
        self.encoders = [layers.Dense(4), layers.Dense(4)]
        self.probe = layers.Dense(1)
        self.queue = keras.Variable(np.eye(6, 4), dtype="float32", trainable=False)

    def compile(self, optimizer: Any, probe_optimizer: Any, **settings: Any) -> None:
        super().compile(optimizer, **settings)
        self.optimizers = {"probe": probe_optimizer}

    def train_step(self, batch: Any) -> dict[str, Any]:
        with tf.GradientTape(persistent=True) as tape:
            one, other = self.encoders[0](batch["one"]), self.encoders[1](batch["other"])
            negatives = ops.mean(ops.exp(ops.matmul(one, ops.transpose(self.queue.value))), axis=1)
            loss = ops.mean(ops.square(one - other)) + 0.1 * ops.mean(ops.log(1 + negatives))
            probe_loss = ops.mean(ops.square(self.probe(ops.stop_gradient(one))))
        weights = [weight for encoder in self.encoders for weight in encoder.trainable_weights]
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        self.optimizers["probe"].apply(tape.gradient(probe_loss, self.probe.trainable_weights), self.probe.weights)
        self.queue.assign(ops.concatenate([one, self.queue.value], axis=0)[:6])
        return {"loss": loss, "probe_loss": probe_loss}


class Siamese(keras.Model):
    """Batches are (anchor, positive, negative), which `call` does not take; a layer is there for validation alone."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.only_in_validation = layers.Dense(4), layers.Dense(FEATURES, trainable=False)
        self.tracker = keras.metrics.Mean(name="loss")

    def call(self, images: Any) -> Any:
        return self.embed(images["one of three"])

    @property
    def metrics(self) -> list[Any]:
        return [self.tracker]

    def _loss(self, data: Any) -> Any:
        anchor, positive, negative = (self.embed(part) for part in data)
        near, far = (ops.sum(ops.square(anchor - other), axis=-1) for other in (positive, negative))
        return ops.maximum(near - far + 0.5, 0.0)

    def train_step(self, data: Any) -> dict[str, Any]:
        with tf.GradientTape() as tape:
            loss = self._loss(data)
        self.optimizer.apply(tape.gradient(loss, self.trainable_weights), self.trainable_weights)
        self.tracker.update_state(loss)
        return {"loss": self.tracker.result()}

    def test_step(self, data: Any) -> dict[str, Any]:
        self.tracker.update_state(self._loss([self.only_in_validation(part) for part in data]))
        return {"loss": self.tracker.result()}


class Transformer(keras.Model):
    """Its loss is its own; its inputs are nested."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.attend, self.out = layers.Embedding(7, 4), layers.MultiHeadAttention(2, 4, dropout=0.1), None

    def build(self, _: Any) -> None:
        self.out = layers.Dense(1)

    def call(self, inputs: Any, training: bool = False) -> Any:
        tokens, rows = inputs
        embedded = self.embed(tokens)
        features = ops.mean(self.attend(embedded, embedded, training=training), axis=1)
        return self.out(ops.concatenate([features, rows], axis=1))

    def compute_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None, training: bool = True) -> Any:
        return ops.mean(ops.square(y_pred[:, 0] - ops.cast(y, "float32"))) + 1e-3 * ops.mean(ops.abs(y_pred))


class OfRaggedAndSparse(keras.Model):
    """Takes a ragged and a sparse tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.table = self.add_weight(shape=(7, 1), initializer="uniform")
        self.out = layers.Dense(1)

    def call(self, inputs: Any) -> Any:
        words, marks = inputs
        looked_up = tf.ragged.map_flat_values(lambda word: tf.gather(self.table.value, word), words)
        dense = tf.ensure_shape(tf.sparse.to_dense(marks), [None, FEATURES])
        return tf.reduce_mean(looked_up, axis=1) + self.out(dense)


def build_autoencoder() -> keras.Model:
    model = Autoencoder()
    model.compile(keras.optimizers.Adam(1e-2))
    return model


def _adversaries(**settings: Any) -> keras.Model:
    model = Adversaries()
    model.compile(keras.optimizers.Adam(1e-2), keras.optimizers.Adam(2e-2), **settings)
    return model


def build_two_optimizers() -> keras.Model:
    return _adversaries()


def build_eager_two_optimizers() -> keras.Model:
    return _adversaries(run_eagerly=True)


def build_diffusion() -> keras.Model:
    model = Diffusion()
    model.normalizer.adapt(TRAIN)
    model.compile(optimizer=keras.optimizers.AdamW(1e-2, weight_decay=1e-3), loss=keras.losses.MeanAbsoluteError())
    return model


def build_contrastive() -> keras.Model:
    model = Contrastive()
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), keras.optimizers.Adam(1e-2))
    return model


def build_siamese() -> keras.Model:
    model = Siamese()
    model.compile(keras.optimizers.Adam(1e-2), weighted_metrics=[])
    return model


def build_transformer() -> keras.Model:
    model = Transformer()
    model.compile(keras.optimizers.Adam(1e-2), metrics=["accuracy"])
    return model


def build_ragged_and_sparse() -> keras.Model:
    model = OfRaggedAndSparse()
    model.compile("adam", "mse")
    return model


OWN_STEPS = {
    "unlabelled": (build_autoencoder, load_unlabelled),
    "two_optimizers": (build_two_optimizers, load_stream),
    "eager_two_optimizers": (build_eager_two_optimizers, load_unlabelled_training),
    "diffusion": (build_diffusion, load_unlabelled),
    "contrastive": (build_contrastive, load_pairs),
    "siamese": (build_siamese, load_triplets),
    "transformer": (build_transformer, load_nested),
    "ragged_and_sparse": (build_ragged_and_sparse, load_ragged_and_sparse),
}
"""As `models.CASES`."""
