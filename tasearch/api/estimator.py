"""A search as a classifier of scikit-learn, for its pipelines and its cross-validation."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import nn

from tasearch.api.opened import Run, Student
from tasearch.api.search import search
from tasearch.pareto.budget import Budget
from tasearch.pareto.candidate import Candidate
from tasearch.train.loop import predict


class DistilledClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """The best student within a budget, as a classifier of scikit-learn.

    `fit` searches as `tasearch.search` does, with the same arguments and defaults, and keeps the
    student that `Run.best()` names. Samples may have more than two axes, as images have.

    Args:
        build: The family of the models, a name or a function.
        teacher: A trained model, or a function that makes one; None to train the widest.
        widths: Widths of all models, strictly decreasing.
        student_widths: Widths that a student may have.
        loss: The loss, or several to try.
        epochs: Epochs of each model that is trained.
        trials: Number of chains to try.
        budget: Limits on the student, such as `{"max_params": 1_000}`.
        random_state: Seed of the search, a whole number; None for 0. Equal seeds give equal
            students.
        study: All other keys of a study file, by section.
        name: Beginning of the names of runs.
        runs_dir: The folder of runs, each of which has a digest of its samples and labels in its
            name: the same fit goes on where it was stopped. None for a temporary folder, which
            `fit` removes at its end.
        device: "auto", "cpu" or "cuda".
        workers: Number of training processes, or "auto".
        progress: Whether to show one line on the progress.

    Attributes:
        classes_: Labels in the order of the logits, of shape (classes,).
        n_features_in_: Length of the second axis of the samples.
        student_: The student: its chain, accuracy on the validation part, size and latency.
        front_: All students that no other one beats in everything, the smallest first.
        model_: The trained `torch.nn.Module`: raw float32 samples to logits.
        run_: The run; not there with a temporary folder.

    Example:
        ```python
        student = tasearch.DistilledClassifier(build="mlp", widths=[64, 16, 8, 4], epochs=20)
        print(cross_val_score(make_pipeline(StandardScaler(), student), x, y))
        ```
    """

    classes_: np.ndarray
    front_: tuple[Candidate, ...]
    model_: nn.Module
    run_: Run
    student_: Student

    def __init__(
        self,
        *,
        build: str | Callable[..., nn.Module] | None = None,
        teacher: nn.Module | Callable[..., nn.Module] | str | None = None,
        widths: Sequence[int] | None = None,
        student_widths: Sequence[int] | None = None,
        loss: Any = None,
        epochs: int | None = None,
        trials: int | None = None,
        budget: Budget | Mapping[str, float] | None = None,
        random_state: int | None = None,
        study: Mapping[str, Any] | None = None,
        name: str = "search",
        runs_dir: str | Path | None = None,
        device: str = "auto",
        workers: int | str = 1,
        progress: bool = False,
    ) -> None:
        self.build, self.teacher = build, teacher
        self.widths, self.student_widths = widths, student_widths
        self.loss, self.epochs, self.trials, self.budget = loss, epochs, trials, budget
        self.random_state, self.study = random_state, study
        self.name, self.runs_dir = name, runs_dir
        self.device, self.workers, self.progress = device, workers, progress

    def fit(self, X: Any, y: Any) -> Self:  # noqa: N803 - scikit-learn's name
        """Search, and keep the best student.

        Args:
            X: Samples, real numbers of shape (samples, features) or with more axes.
            y: Labels of shape (samples,).

        Raises:
            TasearchError: An argument or the data cannot be used.
            NothingFits: No student of the search is within the budget.
        """
        X, y = validate_data(self, X, y, allow_nd=True)  # noqa: N806
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        self.__dict__.pop("run_", None)
        if self.runs_dir is not None:
            digest = hashlib.sha256(np.ascontiguousarray(X).tobytes() + repr(y.tolist()).encode())
            self.run_ = self._search(X, y, f"{self.name}-{digest.hexdigest()[:8]}", self.runs_dir)
            self._keep(self.run_)
            return self
        with tempfile.TemporaryDirectory(prefix="tasearch-") as folder:
            self._keep(self._search(X, y, self.name, folder))
        return self

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """The student's softmax, float32 of shape (samples, classes).

        Args:
            X: Samples, shaped as those of `fit`.
        """
        check_is_fitted(self, "model_")
        X = validate_data(self, X, reset=False, allow_nd=True)  # noqa: N806
        x = X[:, None] if X.ndim == 3 else X
        standardize = (self.study or {}).get("data", {}).get("standardize", True)
        ids = not standardize and x.ndim == 2 and x.dtype.kind in "iu"
        samples = torch.tensor(x, dtype=torch.int64 if ids else torch.float32)
        probabilities: np.ndarray = predict(self.model_, samples).softmax(dim=1).numpy()
        return probabilities

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """The most likely labels, of shape (samples,).

        Args:
            X: Samples, shaped as those of `fit`.
        """
        likely = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[likely])

    def _search(self, x: np.ndarray, y: np.ndarray, name: str, runs_dir: str | Path) -> Run:
        own = ("random_state", "name", "runs_dir")
        given = {key: value for key, value in self.get_params(deep=False).items() if key not in own}
        return search(x, y, seed=self.random_state, name=name, runs_dir=runs_dir, **given)

    def _keep(self, run: Run) -> None:
        self.student_ = run.best()
        self.model_ = self.student_.model
        self.front_ = tuple(run.front.members)
