"""An exported student as a module that names the classes of samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tasearch.data.features import Features
from tasearch.data.given_texts import are_texts
from tasearch.data.ids import Ids
from tasearch.data.tokenizer import TextTokenizer
from tasearch.errors import ExportError, first_line, quoted, shown
from tasearch.exports.given_texts import ids_of_texts
from tasearch.models import Standardized
from tasearch.train.loop import predict

LISTED = 20  # names of features that a message lists


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a student says of some samples.

    Args:
        labels: Name of the most probable class of each sample, always a string: where the labels of
            the training were integers 0, 1 and so on, compare these with `classes`.
        classes: Number of that class, int64 (samples,): its place in `LoadedStudent.class_names`.
        probabilities: Probabilities of the classes, float32 (samples, classes), in the order of
            `LoadedStudent.class_names`.
    """

    labels: tuple[str, ...]
    classes: Tensor
    probabilities: Tensor


class LoadedStudent(Standardized):
    """An exported student: a module which takes raw samples.

    Args:
        net: Model of standardized samples.
        mean: Mean of raw training samples, float32, broadcastable to one sample.
        std: Standard deviation of raw training samples, shaped like `mean`.
        in_shape: Shape of one sample of `net`, (channels, height, width) or (features,).
        channels_last: Whether this module takes images with their channels last.
        class_names: Names of the classes, in the order of the logits.
        features: How rows of a table become samples; None for other data.
        ids: What samples of integers hold; None for numbers to compute with.
        text: How texts become token ids; None for other data.
    """

    def __init__(
        self,
        net: nn.Module,
        mean: Tensor,
        std: Tensor,
        *,
        in_shape: tuple[int, ...],
        channels_last: bool = False,
        class_names: tuple[str, ...],
        features: Features | None = None,
        ids: Ids | None = None,
        text: TextTokenizer | None = None,
    ) -> None:
        super().__init__(net, mean, std)
        self.ids, self.channels_last = ids, channels_last
        self.in_shape = (*in_shape[1:], in_shape[0]) if channels_last else in_shape
        self.class_names, self.features, self.text = class_names, features, text

    def forward(self, x: Tensor) -> Tensor:
        """Raw samples (samples, *in_shape) to logits (samples, num_classes)."""
        return super().forward(x.movedim(-1, 1) if self.channels_last else x)

    def predict(self, x: Any) -> Prediction:
        """Name the classes of raw samples.

        Names are strings, as an export keeps them, also of classes that were integers. So compare
        integers 0, 1 and so on with `classes`, and other ones as text: `y.astype(str)`.

        Args:
            x: Samples (samples, *in_shape), in the units of the training data: a tensor, an array
                of numpy, or lists of numbers; integers, if the model was trained on such. Grey
                images may be without their axis of channels. For a student of a table, its rows by
                the names of their columns: a DataFrame or a dict of columns, or a list of
                dicts; a dict of single values is one row. Numbers alone are taken as its features,
                in the order of `features.names`. For a student of texts also a list of
                strings, or of pairs of strings; one string is one text.

        Raises:
            ExportError: If these are no samples of that shape.
            DataError: If a column of the rows is missing or has values of another kind, or if texts
                need a package that is missing.

        Example:
            ```python
            found = tasearch.load("winner").predict(np.zeros((2, 1, 8, 8)))
            print(found.labels, found.probabilities.amax(dim=1))
            ```
        """
        if self.text is not None and are_texts(x):
            x = ids_of_texts(x, self.text)
        elif self.features is not None and _are_rows(x):
            x = self.features.transform(self.features.table(x))
        elif self.features is not None and not _are_features(x):
            raise ExportError(
                "x: should be rows of the table: a DataFrame, a dict of columns, or a list of "
                f"dicts; or features of shape (n, {self.in_shape[0]}); found {type(x).__name__}"
            )
        samples = self._shaped(self._samples(x))
        finite = samples.flatten(1).isfinite().all(dim=1)
        if not finite.all():
            raise ExportError(f"x[{int((~finite).nonzero()[0])}]: should be finite numbers")
        self._check_ids(samples)
        with torch.inference_mode():
            probabilities = predict(self, samples).softmax(dim=1)
        classes = probabilities.argmax(dim=1)
        labels = tuple(self.class_names[place] for place in classes.tolist())
        return Prediction(labels=labels, classes=classes, probabilities=probabilities)

    def _samples(self, x: Any) -> Tensor:
        """Numbers as a tensor of the type that the model takes."""
        wanted = torch.float32 if self.ids is None else getattr(torch, self.ids.dtype)
        try:
            if not isinstance(x, Tensor):
                kind = np.float32 if self.ids is None else None
                x = torch.from_numpy(np.array(x, dtype=kind))  # a copy: x may be read-only
            samples: Tensor = x.to(self.mean.device, wanted)
            if self.ids is not None and (x.is_floating_point() or x.is_complex()):
                raise ExportError(f"x: should be integers, as in the training, found {x.dtype}")
            return samples
        except (TypeError, ValueError, RuntimeError) as error:
            raise ExportError(f"x: is no array of numbers: {shown(first_line(error))}") from None

    def _shaped(self, samples: Tensor) -> Tensor:
        """Samples of the model's shape; grey images may lack their axis of channels."""
        grey = len(self.in_shape) == 3 and samples.dim() == 3
        axis = -1 if self.channels_last else 1
        whole = samples.unsqueeze(axis) if grey else samples
        if whole.dim() > 0 and tuple(whole.shape[1:]) == self.in_shape:
            return whole
        raise ExportError(
            f"x: should be samples of shape (n, {', '.join(map(str, self.in_shape))}), found shape "
            f"{tuple(samples.shape)}{self._advice(tuple(samples.shape))}"
        )

    def _advice(self, found: tuple[int, ...]) -> str:
        """What to bring instead of samples of another shape, as the end of a message."""
        if found == self.in_shape:
            return "; bring x[None] for one sample"
        if self.features is not None:
            names = ", ".join(map(quoted, self.features.names[:LISTED]))
            more = ", ..." if len(self.features.names) > LISTED else ""
            return (
                f"; bring rows by the names of their columns, such as a DataFrame, or these "
                f"features in their order (features.names): {names}{more}"
            )
        first, *rest = self.in_shape
        other, order = (*rest, first), "0, 3, 1, 2"
        if self.channels_last:
            other, order = (rest[-1], first, *rest[:-1]), "0, 2, 3, 1"
        if len(rest) == 2 and found[1:] == other:
            return f"; bring x.transpose({order}) of an array, x.permute({order}) of a tensor"
        return ""

    def _check_ids(self, samples: Tensor) -> None:
        """Refuse integers that the training data did not have; an embedding may not, either."""
        if self.ids is None:
            return
        low, high = self.ids.low, self.ids.high
        wrong = (samples < low) | (samples > high)
        if wrong.any():
            place = wrong.nonzero()[0].tolist()
            raise ExportError(
                f"x{place}: should be {low:,} to {high:,}, as in the training, found "
                f"{int(samples[tuple(place)]):,}"
            )


def _are_rows(x: Any) -> bool:
    """Whether these are rows with names of columns, not numbers alone."""
    if isinstance(x, list | tuple):
        return bool(x) and all(isinstance(row, Mapping) for row in x)
    return isinstance(x, Mapping) or hasattr(x, "columns")


def _are_features(x: Any) -> bool:
    """Whether these may be features: numbers alone, at least a row of them."""
    try:
        array = np.asarray(x.detach().cpu() if isinstance(x, Tensor) else x)
    except (TypeError, ValueError):
        return False
    return array.dtype.kind in "fiub" and array.ndim > 0 and array.size > 0
