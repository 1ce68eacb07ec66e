"""Metrics of a study: functions `(logits, labels) -> score`, of which more is better. Pure.

logits   A model's raw logits on all samples of a part, float (samples, classes).
labels   int64 (samples,).
score    float64 (), on the device of the logits; NaN where the metric is not defined.

Apart from the accuracy, which is the fast way, they are computed in float64 and equal
scikit-learn's, whose names are in their docstrings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from tasearch.config import plugins
from tasearch.errors import StudyError, TrainingError, message, quoted, raised
from tasearch.pareto.metric import TOP_K

Score = Callable[[Tensor, Tensor], Tensor]

DRAWS = 40  # bootstrap samples of a standard error, which then varies by a tenth of itself
PERFECT = 30.0  # logit of the right class in perfect predictions; the others are 0
OF_ALL_CLASSES = ("balanced-accuracy", "macro-f1", "auc")  # which need samples of every class


def accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """The fraction of samples whose largest logit is their label's (`accuracy_score`)."""
    return (logits.argmax(dim=1) == labels).sum().double() / len(labels)


def balanced_accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean over classes of their recall (`balanced_accuracy_score`)."""
    hits, found, _ = _counts(logits, labels)
    there = found > 0
    return (hits[there] / found[there]).mean()


def macro_f1(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean over classes of 2 hits / (samples + predictions) (`f1_score`, average="macro").

    Classes without samples and predictions do not count.
    """
    hits, found, predicted = _counts(logits, labels)
    there = found + predicted > 0
    return (2 * hits[there] / (found + predicted)[there]).mean()


def auc(logits: Tensor, labels: Tensor) -> Tensor:
    """Area under the ROC curve (`roc_auc_score`); of several classes one-vs-rest, their mean.

    The area is the fraction of pairs of a sample of the class and another one in which the first
    has the higher probability; ties count half.
    """
    if logits.shape[1] == 2:
        return _area(logits[:, 1].double() - logits[:, 0].double(), labels == 1)
    logs = logits.double().log_softmax(dim=1)
    areas = [_area(logs[:, i], labels == i) for i in range(logits.shape[1])]
    return torch.stack(areas).mean()


def top_k(logits: Tensor, labels: Tensor, *, k: int) -> Tensor:
    """The fraction of samples whose label is among the k largest logits (`top_k_accuracy_score`).

    Of equal logits the last ones count as larger, as there.
    """
    best = logits.argsort(dim=1, stable=True)[:, -k:]
    return (best == labels[:, None]).any(dim=1).sum().double() / len(labels)


def log_likelihood(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean log-likelihood of the labels in nats: minus `log_loss`."""
    return logits.double().log_softmax(dim=1).gather(1, labels[:, None]).mean()


METRICS: dict[str, Score] = {
    "accuracy": accuracy,
    "balanced-accuracy": balanced_accuracy,
    "macro-f1": macro_f1,
    "auc": auc,
    "nll": log_likelihood,
}


def score_function(name: str, root: str) -> Score:
    """The function of the metric that a study names.

    Args:
        name: Name of the metric, or `"package.module:function"`.
        root: The study's root, for a function of the user's.

    Raises:
        StudyError: There is no such function.
    """
    top = TOP_K.fullmatch(name)
    if top:
        return partial(top_k, k=int(top[1]))
    function = plugins.resolve(name, METRICS, path="objective.metric", root=root)
    return function if name in METRICS else partial(_own_score, function, name)


def _own_score(
    function: Callable[..., object], name: str, logits: Tensor, labels: Tensor
) -> Tensor:
    """The score by a function of the user's, which gets tensors of its own on CPU.

    Raises:
        TrainingError: It raises, or gives no finite number.
    """
    if not bool(logits.isfinite().all()):
        return logits.new_full((), torch.nan, dtype=torch.float64)
    own = logits.detach().float().cpu().clone(), labels.cpu().clone()
    try:
        value = function(*own)
        score = float(value)  # type: ignore[arg-type]
    except Exception as error:  # the user's function may raise anything
        called = f"metric {name!r} called with (logits, labels)"
        advice = _advice(error)
        cause = None if advice else error  # with an advice the message says it all
        raise TrainingError(f"{called} raised {raised(error)}{advice}") from cause
    if not math.isfinite(score):
        raise TrainingError(f"metric {name!r} should give a finite number, gave {quoted(value)}")
    return torch.tensor(score, dtype=torch.float64, device=logits.device)


def _advice(error: Exception) -> str:
    """What to write instead, as the end of a message; empty where that is not known."""
    said = message(error)
    if "could not infer output dtype" in said:
        return "; logits and labels are torch tensors: write .float() before .mean()"
    if "'Tensor' object has no attribute" in said:
        return "; logits and labels are torch tensors: .numpy() makes an array of numpy of each"
    return ""


def check_metric(
    name: str, score: Score, labels: Tensor, class_names: Sequence[str]
) -> tuple[float, float] | None:
    """Check that a metric is defined on the validation set, before anything is trained.

    Args:
        name: Name of the metric.
        score: Its function.
        labels: Labels of the validation set, int64 (samples,).
        class_names: Names of the classes by number.

    Returns:
        For a function of the user's, the scores of guessing, where all logits are equal, and of
        perfect predictions; None for the others.

    Raises:
        StudyError: It is not defined, or perfect predictions are no better than guessing.
    """
    classes, where = len(class_names), f"objective.metric: {name!r}"
    top = TOP_K.fullmatch(name)
    if top and int(top[1]) >= classes:
        raise StudyError(
            f"{where} is always 100 % of {classes} classes: it needs more classes than {top[1]}"
        )
    missing = [i for i, n in enumerate(labels.bincount(minlength=classes).tolist()) if not n]
    if missing and name in OF_ALL_CLASSES:
        raise StudyError(
            f"{where} needs samples of every class in the validation part, class "
            f"{quoted(class_names[missing[0]])} has none: make data.validation larger, or bring a "
            f"validation part with all classes"
        )
    if ":" not in name:
        return None
    perfect = PERFECT * torch.nn.functional.one_hot(labels, classes).float()
    try:
        guess, best = float(score(0 * perfect, labels)), float(score(perfect, labels))
    except TrainingError as error:
        raise StudyError(f"objective.metric: {error}") from error.__cause__
    if guess >= best:
        raise StudyError(
            f"{where}: more should be better, but perfect predictions give {best:.4g} and equal "
            f"logits {guess:.4g}; return the negative of a cost"
        )
    return guess, best


def standard_error(score: Score, logits: Tensor, labels: Tensor) -> float:
    """Standard error of a score on these samples, by the bootstrap within each class.

    Samples are drawn with replacement from those of their class (Efron and Tibshirani, An
    Introduction to the Bootstrap, 1993, chapter 6), so that a draw has all classes. The draws are
    always the same ones.

    Args:
        score: The metric.
        logits: float (samples, classes).
        labels: int64 (samples,).
    """
    generator = torch.Generator().manual_seed(0)
    there = labels.bincount().nonzero()[:, 0].tolist()
    places = [(labels == i).nonzero()[:, 0].cpu() for i in there]
    found = []
    for _ in range(DRAWS):
        drawn = [own[torch.randint(len(own), own.shape, generator=generator)] for own in places]
        samples = torch.cat(drawn).to(logits.device)
        found.append(score(logits[samples], labels[samples]))
    return float(torch.stack(found).std())


def recalls(logits: Tensor, labels: Tensor) -> list[float | None]:
    """The recall of each class, 0..1; None for a class without samples."""
    hits, found, _ = (counts.tolist() for counts in _counts(logits, labels))
    return [own / all_ if all_ else None for own, all_ in zip(hits, found, strict=True)]


def _counts(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For each class its hits, samples and predictions, float64 (classes,)."""
    predicted, classes = logits.argmax(dim=1), logits.shape[1]
    hits, found, told = (
        which.bincount(minlength=classes).double()
        for which in (labels[predicted == labels], labels, predicted)
    )
    return hits, found, told


def _area(values: Tensor, positive: Tensor) -> Tensor:
    """Area under the ROC curve of values, float64 (samples,), for samples that are positive or not.

    It is the statistic of Mann and Whitney, from ranks whose ties share their mean.
    """
    _, place, counts = torch.unique(values, return_inverse=True, return_counts=True)
    ranks: Tensor = (counts.cumsum(0) - (counts - 1) / 2.0).double()[place]
    own = positive.sum().double()
    area: Tensor = (ranks[positive].sum() - own * (own + 1) / 2) / (own * (len(values) - own))
    return area
