"""Runs user code in a worker first: a crash or a hang there becomes a message of the search.

`Pool.call` runs the first six functions below in a worker. Each is called with plain values, among
them the study as JSON, and with a function that it calls before each step, with the step in words.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Literal

import torch
from torch import nn

from tasearch.chains.recipe import Recipe
from tasearch.chains.sizes import sized
from tasearch.config import plugins
from tasearch.config.study import Study
from tasearch.data import Dataset, load_data
from tasearch.data.shared import SharedDataset, read_shared
from tasearch.errors import StudyError
from tasearch.models import Models
from tasearch.models.numerics import cpu_threads
from tasearch.pareto.measurement import Measurement
from tasearch.runs import heartbeat
from tasearch.search.chain_space import make_space
from tasearch.search.sampler import make_sampler, try_sampler
from tasearch.train.class_weights import class_weights
from tasearch.train.loss_check import check_loss
from tasearch.train.losses import LOSSES, Loss
from tasearch.train.metrics import check_metric, score_function
from tasearch.train.own_augment import OwnAugment
from tasearch.train.own_views import OwnViews
from tasearch.train.workers.pool import Pool

Content = Mapping[str, Any]
Step = Callable[[str], None]


def import_all(content: Content, step: Step) -> None:
    """Import all user code, and make a user's own sampler."""
    study = _study(content)
    for path, name in study.own_functions:
        step(f"{path}: {name!r}, when imported")
        plugins.resolve(name, {}, path=path, root=study.root)
    if ":" in study.search.sampler:
        step(f"search.sampler: {study.search.sampler!r}, when called")
        make_sampler(study)


def load(content: Content, step: Step) -> str:
    """Load the data set from a user's source, and return the path of its `SharedDataset`."""
    study = _study(content)
    step(f"data.source: {study.data.source!r}, when called")
    data = load_data(study, lambda done, total: heartbeat.beat())
    return _kept(SharedDataset(data)).path


def try_all(content: Content, step: Step) -> None:
    """Build and call the model of each width, and call each loss and the metric."""
    study, data = _study(content), read_shared(content["data"])
    models, teacher = Models.for_study(study, data), study.teacher
    for width in study.widths:
        words = f"model.family: {study.model.family!r} at {sized(width)}"
        if width == teacher.width and teacher.own_factories:
            words = f"{teacher.paths[0]}.factory: {teacher.models[0].factory!r}"
        step(words)
        nets = models.check([width])
        _evaluate(models, nets[width] if width in nets else models.build(width))
    labels = label_kinds(study, data)
    for name, (loss, recipe, path) in losses_of(study).items():
        step(f"{path}: {name!r}, when called")
        check_loss(loss, name, recipe, data.num_classes, **labels)
    if ":" in study.objective.metric:
        step(f"objective.metric: {study.objective.metric!r}, when called")
        try_metric(study, data)


def try_augmentation(content: Content, step: Step) -> float:
    """Call a user's augmentation on a few samples; the seconds of one call."""
    study, data = _study(content), read_shared(content["data"])
    step(f"training.augment: {study.training.augment!r}, when called")
    tried = OwnViews.of(study) or OwnAugment.of(study)
    assert tried is not None
    return tried.try_out(data.inputs)


def draw_views(content: Content, step: Step) -> None:
    """Draw all views of a user's augmentation, unless they are cached."""
    study, data = _study(content), read_shared(content["data"])
    step(f"training.augment: {study.training.augment!r}, when called")
    views = OwnViews.of(study)
    assert views is not None
    views.drawn(data)


def propose(content: Content, step: Step) -> None:
    """Ask a user's sampler for a chain."""
    study, data = _study(content), read_shared(content["data"])
    step(f"search.sampler: {study.search.sampler!r}, when asked for a chain")
    measured = {m["width"]: Measurement.from_json(m) for m in content["measured"]}
    space = make_space(study, Models.for_study(study, data).teacher(), measured)
    make = plugins.resolve(study.search.sampler, {}, path="search.sampler", root=study.root)
    try_sampler(space, make)


class Preflight:
    """Runs the user code of a study in a worker, before this process runs it.

    Args:
        study: The study; if it names no user code, nothing is done.
        pool: The workers; None only if the study names no user code.
    """

    def __init__(self, study: Study, pool: Pool | None) -> None:
        self._study, self._pool = study, pool if study.own_functions else None

    def import_all(self) -> None:
        """Import all user code.

        Raises:
            StudyError: It cannot be imported.
        """
        self._call(import_all)

    def load(self) -> Dataset:
        """Load the data set from a user's source.

        Raises:
            TasearchError: The source is wrong.
        """
        assert self._pool is not None
        path = self._call(load)
        try:
            return self._pool.adopt(path)
        except OSError:  # the worker that held the data has died since
            where = f"data.source: {self._study.data.source!r}"
            raise StudyError(f"{where}: its process ended after it had returned") from None

    def try_all(self, data: Dataset) -> None:
        """Build and call the model of each width, and call each loss.

        Raises:
            TasearchError: A model or a loss is wrong.
        """
        if self._pool is not None:
            self._call(try_all, data=self._pool.share_data(data))

    def try_augmentation(self, data: Dataset) -> float:
        """Call a user's augmentation on a few samples.

        Returns:
            Seconds of one call; 0 for one that is built in.

        Raises:
            StudyError: It is wrong.
        """
        if self._pool is None or ":" not in self._study.training.augment:
            return 0.0
        return float(self._call(try_augmentation, data=self._pool.share_data(data)))

    def draw_views(self, data: Dataset) -> None:
        """Draw all views of a user's augmentation, unless they are cached or drawn in training.

        Raises:
            TasearchError: The function is wrong, or there is no room for the views.
        """
        training = self._study.training
        drawn = ":" in training.augment and training.views is not None
        if self._pool is not None and drawn:
            self._call(draw_views, data=self._pool.share_data(data))

    def propose(self, data: Dataset, measured: Mapping[int, Measurement]) -> None:
        """Ask a user's sampler for a chain.

        Raises:
            StudyError: The sampler is wrong.
        """
        if self._pool is not None and ":" in self._study.search.sampler:
            listed = [m.content() for m in measured.values()]
            self._call(propose, data=self._pool.share_data(data), measured=listed)

    def _call(self, function: Callable[[Content, Step], Any], **content: Any) -> Any:
        """The result of a function in a worker; None without user code."""
        if self._pool is None:
            return None
        name = f"{function.__module__}:{function.__name__}"
        return self._pool.call(name, {"study": self._study.model_dump_json(), **content})


def losses_of(study: Study) -> dict[str, tuple[Loss, Recipe, str]]:
    """Each loss of a study by its name, with a recipe that uses it and the key that names it."""
    found = {}
    roles: tuple[Literal["assistants", "student"], ...] = ("assistants", "student")
    for role in roles:
        for recipe in study.recipes(role).one_per_loss():
            path = f"{role}.loss"
            loss = plugins.resolve(recipe.loss, LOSSES, path=path, root=study.root)
            found[recipe.loss] = (loss, recipe, path)
    return found


def label_kinds(study: Study, data: Dataset) -> dict[str, bool]:
    """What labels may be like, as `check_loss` takes it."""
    return {"shares": study.training.mixup is not None, "unlabelled": data.unlabelled is not None}


def try_metric(study: Study, data: Dataset) -> tuple[float, float] | None:
    """Try the metric of a study, and the weights of its classes; see `check_metric`.

    Raises:
        StudyError: The metric or the weights are none for these data.
    """
    name, labels = study.objective.metric, torch.from_numpy(data.validation.y)
    class_weights(study, torch.from_numpy(data.train.y), data.num_classes)
    return check_metric(name, score_function(name, study.root), labels, data.class_names)


def _study(content: Content) -> Study:
    heartbeat.beat()
    return Study.model_validate_json(content["study"])


@cache
def _kept(data: SharedDataset) -> SharedDataset:
    """The same data; the cache keeps its files until this process ends."""
    return data


def _evaluate(models: Models, net: nn.Module) -> None:
    """Call a model as its latency is measured, so that a crash happens in this worker.

    Exceptions are ignored here; the measurement reports them.
    """
    study = models.study
    with contextlib.suppress(Exception), torch.inference_mode(), cpu_threads(study.latency.threads):
        for size in (2, study.latency.batch):
            net(torch.zeros(size, *models.in_shape))
