"""What a model's outputs mean: heads, their names, and how each gives probability and margin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from tasks.errors import ModelError
from tasks.load.margin import Trunk, logit, softmax_margin, trunks

OutputKind = Literal["probability", "margin"]
Task = Literal["binary", "multiclass", "regression"]


@dataclass(frozen=True, eq=False)
class Head:
    """One of the model's outputs, (n, width).

    Attributes:
        name: the output layer's.
        outputs: names of its columns.
        task: the head's own; of several heads only the audited one has the config's classes.
        tensor: the Keras tensor of the output.
        trunk: the way to its pre-activation.
    """

    name: str
    outputs: tuple[str, ...]
    task: Task
    tensor: Any
    trunk: Trunk

    @property
    def width(self) -> int:
        return len(self.outputs)


@dataclass(frozen=True, eq=False)
class Outputs:
    """The model's heads, side by side.

    Attributes:
        audited: the columns of the head that the target belongs to.
        limitations: sentences for the report.
    """

    heads: tuple[Head, ...]
    audited: slice
    limitations: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for head in self.heads for name in head.outputs)

    @property
    def probabilities(self) -> bool:
        """Whether every output is one."""
        return all(head.task != "regression" for head in self.heads)

    def graph(self, model: Any, kind: OutputKind) -> Callable[[Any], Any]:
        """Model inputs → (n, k) float32, to be called inside a tf.function."""
        import keras
        import tensorflow as tf

        tensors = [_start(head, kind)[0] for head in self.heads]
        own = all(tensor is head.tensor for tensor, head in zip(tensors, self.heads, strict=True))
        body = model if own else keras.Model(model.inputs, tensors)
        structure = getattr(body, "_inputs_struct", None)

        def values(inputs: Any) -> Any:
            flat = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
            packed = flat[0] if structure is None else keras.tree.pack_sequence_as(structure, flat)
            found = keras.tree.flatten(body(packed, training=False))
            parts = []
            for head, value in zip(self.heads, found, strict=True):
                value = _start(head, kind)[1](tf.cast(value, tf.float32))
                parts.append(tf.reshape(value, [tf.shape(value)[0], head.width]))
            return parts[0] if len(parts) == 1 else tf.concat(parts, axis=1)

        return values


def describe(model: Any, task: Task, classes: tuple[str, ...], target: str, where: str) -> Outputs:
    """Names the outputs and checks that they fit the classes.

    Args:
        classes: of the target, in order; empty for a regression.
        target: the target column: of several heads, the one of that name is audited, else the first.

    Raises:
        ModelError: the outputs' shape does not fit the task or the classes.
    """
    found = trunks(model)
    names = list(getattr(model, "output_names", None) or [f"output_{i}" for i in range(len(found))])
    main = names.index(target) if target in names else 0
    said: list[str] = []
    if len(found) > 1:
        said.append(f"The model has {len(found)} outputs; decisions and fairness are those of {names[main]}.")
    heads = []
    for i, (trunk, name) in enumerate(zip(found, names, strict=True)):
        shape = model.outputs[i].shape
        if len(shape) not in (1, 2) or (len(shape) == 2 and shape[1] is None):
            raise ModelError(
                f"its output {name} has the shape {tuple(shape)}",
                where=where,
                hint="one row of outputs a row is needed",
            )
        width = 1 if len(shape) == 1 else int(shape[1])
        outputs, own = _named(width, task, classes, where) if i == main else _guessed(width, task)
        if len(found) > 1:
            outputs = tuple(f"{name}/{output}" for output in outputs)
        head = Head(name, outputs, own, model.outputs[i], trunk)
        heads.append(head)
        said.extend(_said(head))
    start = sum(head.width for head in heads[:main])
    return Outputs(tuple(heads), slice(start, start + heads[main].width), tuple(said))


def _named(width: int, task: Task, classes: tuple[str, ...], where: str) -> tuple[tuple[str, ...], Task]:
    if task == "regression":
        return (("value",) if width == 1 else tuple(f"value {i}" for i in range(width))), task
    if task == "binary" and width == 1:
        return (classes[1],), task
    if width != len(classes):
        raise ModelError(
            f"has {width} output{'s' * (width != 1)}, but there are {len(classes)} classes",
            where=where,
            values=classes,
            hint="name the classes in model.classes in the order of the outputs, or correct model.task",
        )
    return classes, task


def _guessed(width: int, task: Task) -> tuple[tuple[str, ...], Task]:
    """Another head's columns: nothing names its classes."""
    if task == "regression":
        return _named(width, task, (), "")
    return tuple(str(i) for i in range(width)) if width > 1 else ("1",), task


def _said(head: Head) -> list[str]:
    activation = head.trunk.activation
    if head.task == "regression":
        return []
    if activation == "linear":
        return [
            f"The model's output {head.name} has no final activation: it is taken as a logit, and the probability"
            f" is its {'sigmoid' if head.width == 1 else 'softmax'}."
        ]
    if activation == "hidden":
        return [
            f"The final activation of {head.name} cannot be taken off: the margin is the logit of the probability,"
            " clipped at 1e-7."
        ]
    if activation == "sigmoid" and head.width > 1:
        return [f"The outputs of {head.name} are sigmoids of their own: they need not sum to one."]
    return []


def _start(head: Head, kind: OutputKind) -> tuple[Any, Callable[[Any], Any]]:
    """The Keras tensor to evaluate, and what turns it into the kind asked for."""
    import tensorflow as tf

    trunk = head.trunk
    whole = head.tensor
    if head.task == "regression":
        return whole, lambda value: value
    if trunk.activation == "linear":
        if kind == "margin":
            return whole, (lambda value: value) if head.width == 1 else softmax_margin
        return whole, tf.sigmoid if head.width == 1 else tf.nn.softmax
    if kind == "probability":
        return whole, lambda value: value
    if trunk.activation == "hidden":
        return whole, logit
    if trunk.activation == "sigmoid":
        return trunk.tensor, trunk.finish
    if head.width == 1:
        return whole, logit  # a softmax of one output is constant; its margin says so
    return trunk.tensor, lambda value: softmax_margin(trunk.finish(value))
