"""Training epoch by epoch, so that a killed training goes on where it was and ends with the same weights.

Keras' ``BackupAndRestore`` does not serve: it writes in place, weights and epoch one after the other, and leaves the order
of samples and the random state of dropout to a process that is gone. Here both depend on the seed and the epoch alone.
"""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from studylib.artifacts.store import output_error
from studylib.errors import RefusedError
from studylib.training.job import say
from studylib.training.lessons import one_or_all


@dataclass(frozen=True)
class Stage:
    """One training: how many ``epochs``, how large a ``batch``, in the order of ``seed``.

    ``unfinished``: folder for checkpoints; ``name`` stands for this training in it and in what is said.
    """

    name: str
    epochs: int
    batch: int
    seed: int
    unfinished: Path


def fit(keras, model, inputs: Sequence[np.ndarray], answers: Sequence[np.ndarray], stage: Stage, callbacks: Sequence = ()) -> list[float]:
    """Train a compiled ``model`` in place and return the loss of every epoch.

    ``keras``: the module the model is of (`keras` or `tf_keras`). ``inputs``, ``answers``: first axis the sample, in the
    order of the model's inputs and outputs. A training that was finished before is read, not repeated. Raises `RefusedError` when
    the loss is no number any more.
    """
    checkpoint = Path(stage.unfinished) / f"{stage.name.replace(' ', '-')}.npz"
    model.optimizer.build(model.trainable_variables)
    losses = _restore(model, checkpoint)
    for epoch in range(len(losses), stage.epochs):
        reseed(keras, model, stage.seed, epoch, 1)
        batches = _batches(keras, inputs, answers, min(stage.batch, len(inputs[0])), stage.seed, epoch)
        history = model.fit(batches, initial_epoch=epoch, epochs=epoch + 1, shuffle=False, verbose=0, callbacks=list(callbacks))
        losses.append(float(history.history["loss"][-1]))
        if not np.isfinite(losses[-1]):
            raise RefusedError(f"{stage.name} diverged: the loss of epoch {epoch + 1} is {losses[-1]}; lower the learning rate")
        _keep(model, checkpoint, losses)
        say(f"{stage.name}: epoch {epoch + 1} of {stage.epochs}, loss {losses[-1]:.4g}")
    return losses


def optimizer(keras, learning_rate: float, samples: int, epochs: int, batch: int):
    """Adam, its learning rate falling to nothing as half a cosine over all batches of ``epochs``."""
    steps = max(1, epochs * -(-samples // batch))
    return keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(learning_rate, steps))


def order_of(samples: int, seed: int, epoch: int) -> np.ndarray:
    """The order in which an epoch takes the samples."""
    return np.random.default_rng([seed, epoch]).permutation(samples)


def _batches(keras, inputs, answers, size: int, seed: int, epoch: int):
    """The batches of an epoch, read from (memory-mapped) samples one at a time."""
    order = order_of(len(inputs[0]), seed, epoch)

    class Batches(keras.utils.Sequence):
        def __len__(self) -> int:
            return -(-len(order) // size)

        def __getitem__(self, index: int):
            chosen = order[index * size : (index + 1) * size]
            return one_or_all([values[chosen] for values in inputs]), one_or_all([values[chosen] for values in answers])

    return Batches()


def reseed(keras, model, *seeds: int) -> None:
    """Set every source of chance, also those inside layers, to what ``seeds`` say, whatever was computed before."""
    numbers = np.random.default_rng(seeds)
    keras.utils.set_random_seed(int(numbers.integers(2**31)))
    for layer in model._flatten_layers():
        for generator in getattr(layer, "_seed_generators", ()):  # Keras 3
            generator.state.assign([int(numbers.integers(2**31)), 0])
        generator = getattr(getattr(layer, "_random_generator", None), "_generator", None)  # legacy Keras
        if generator is not None:
            generator.reset_from_seed(int(numbers.integers(2**31)))


def _variables(model) -> list:
    return [*model.weights, *model.optimizer.variables]


def _keep(model, checkpoint: Path, losses: list[float]) -> None:
    """Write weights, optimizer and losses so far in one file that appears whole or not at all."""
    written = checkpoint.with_suffix(".writing.npz")
    try:
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        arrays = {str(index): variable.numpy() for index, variable in enumerate(_variables(model))}
        np.savez(written, losses=np.array(losses), **arrays)
        written.replace(checkpoint)
    except OSError as error:
        raise output_error(checkpoint.parent, error) from None


def _restore(model, checkpoint: Path) -> list[float]:
    """Put back what `_keep` kept and return the losses so far; none when there is nothing usable."""
    if not checkpoint.exists():
        return []
    variables = _variables(model)
    try:
        with np.load(checkpoint) as kept:
            losses = kept["losses"].tolist()
            values = [kept[str(index)] for index in range(len(variables))]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        say(f"{checkpoint.name} cannot be read; this training begins again")
        return []
    if [value.shape for value in values] != [tuple(variable.shape) for variable in variables]:
        say(f"{checkpoint.name} is of another model; this training begins again")
        return []
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    say(f"{checkpoint.stem}: goes on after epoch {len(losses)}")
    return losses
