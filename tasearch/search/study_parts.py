"""What a study names: loaded, tried, and identified by digests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tasearch.config import plugins
from tasearch.config.study import Study
from tasearch.config.user_modules import UserCode
from tasearch.data import Dataset, Progress, load_data
from tasearch.data.teacher_tokenizer import check_tokenizer
from tasearch.errors import StudyError
from tasearch.models import Models
from tasearch.models.families import check_takes
from tasearch.runs.comparable import CHANGED
from tasearch.search.acquisition import Acquisition
from tasearch.search.constants import constant_notices
from tasearch.search.few_samples import validation_notices
from tasearch.search.majority import majority_notices
from tasearch.search.preflight import Preflight, label_kinds, losses_of, try_metric
from tasearch.search.prices import price_of_views
from tasearch.search.sampler import MakeSampler, make_sampler
from tasearch.search.steps import Step, no_step
from tasearch.train.archive import TRAINER_VERSION
from tasearch.train.augmentation import check_augmentation
from tasearch.train.batches import batch_shape
from tasearch.train.loss_check import check_loss
from tasearch.train.metrics import Score, score_function


@dataclass(frozen=True, kw_only=True)
class StudyParts:
    """The data, the models and the functions that a study names.

    Args:
        study: The study.
        data: Its training set and its validation set.
        models: Its models.
        losses: Names of its losses.
        score: Its metric.
        bounds: Scores of guessing and of perfect predictions, for a metric of the user's.
        make_sampler: Returns the function that makes the study's sampler from a seed, for an
            acquisition function.
    """

    study: Study
    data: Dataset
    models: Models
    losses: tuple[str, ...]
    score: Score
    bounds: tuple[float, float] | None
    make_sampler: Callable[[Acquisition], MakeSampler]

    @classmethod
    def load(
        cls,
        study: Study,
        preflight: Preflight,
        progress: Progress | None = None,
        step: Step = no_step,
        warn: Callable[[str], None] = lambda notice: None,
    ) -> StudyParts:
        """Load and try the parts of a study, user code in a worker first.

        Args:
            study: The study.
            preflight: Runs user code in a worker.
            progress: Called with (done, total) while images are decoded.
            step: Called with the name of each step when it begins.
            warn: Called with each notice for the user.

        Raises:
            TasearchError: The data, a model or a function is wrong.
        """
        step("data")
        preflight.import_all()
        sampler = make_sampler(study)
        losses = losses_of(study)
        data = preflight.load() if study.data.own_source else load_data(study, progress, warn)
        check_tokenizer(study, data.text, warn)
        _tell_unlabelled(study, data, warn)
        notices = *majority_notices(study, data), *validation_notices(data)
        for notice in (*notices, *constant_notices(data)):
            warn(notice)
        step("models")
        check_takes(study.model.family, data.ids)
        preflight.try_all(data)
        labels = label_kinds(study, data)
        for name, (loss, recipe, _) in losses.items():
            check_loss(loss, name, recipe, data.num_classes, **labels)
        bounds = try_metric(study, data)
        _check_augmentation(study, data, preflight, warn)
        models = Models.for_study(study, data)
        return cls(
            study=study,
            data=data,
            models=models,
            losses=tuple(losses),
            score=score_function(study.objective.metric, study.root),
            bounds=bounds,
            make_sampler=sampler,
        )

    def digests(self, device: str) -> dict[str, str]:
        """What decides a run's results besides its study file.

        Args:
            device: The kind of device that trains, "cpu" or "cuda".

        Raises:
            StudyError: The data or the code are not those of the section `[expects]`.
        """
        root, sampler = self.study.root, self.study.search.sampler
        found = {
            "digest of data": self.data.fingerprint,
            "digest of family": self.models.family,
            "digest of teacher": self.models.teacher().origin or "",
            "digest of losses": " ".join(plugins.identity(name, root) for name in self.losses),
            "digest of sampler": plugins.identity(sampler, root),
            "device": device,
            "version of the trainer": str(TRAINER_VERSION),
        }
        if ":" in self.study.training.augment:
            found["digest of augment"] = plugins.identity(self.study.training.augment, root)
        if self.data.unlabelled is not None:
            found["digest of unlabelled"] = self.data.unlabelled_digest
        if ":" in self.study.objective.metric:
            found["digest of metric"] = plugins.identity(self.study.objective.metric, root)
        self._check_expected(found)
        return found

    def code(self) -> UserCode:
        """The source of the user code that the study names, as it was imported.

        Raises:
            RunError: It has been edited since.
        """
        study = self.study
        own = study.training.augment, study.search.sampler, study.objective.metric
        names = [*self.losses, study.model.own_family, *study.teacher.own_factories, *own]
        code = plugins.frozen(names, study.root)
        code.check()
        return code

    def _check_expected(self, found: Mapping[str, str]) -> None:
        """Refuse data and code other than those that an export was made from.

        Raises:
            StudyError: A digest differs; the message names the first one.
        """
        for name, expected in self.study.expects.model_dump().items():
            digest = found.get(f"digest of {name}", "")
            if expected is not None and {*expected.split(" ")} != {*digest.split(" ")}:
                raise StudyError(
                    f"expects.{name}: {CHANGED[f'digest of {name}']} since the chain was exported: "
                    f"the weights would be others; put back what it was made of, or remove "
                    f"[expects]"
                )


def _check_augmentation(
    study: Study, data: Dataset, preflight: Preflight, warn: Callable[[str], None]
) -> None:
    """Check the augmentation, and tell what views take.

    Raises:
        StudyError: It cannot be used.
    """
    if data.ids is not None and study.training.mixup is not None:
        raise StudyError(
            "training.mixup: mixes numbers, and samples are integers that stay so, such as token "
            "ids; leave it out"
        )
    seconds = preflight.try_augmentation(data)
    if ":" not in study.training.augment:
        check_augmentation(study.training.augment, data.in_shape)
    for notice in price_of_views(study, data, seconds):
        warn(notice)


def _tell_unlabelled(study: Study, data: Dataset, warn: Callable[[str], None]) -> None:
    """Tell how samples without labels take part."""
    if data.unlabelled is None:
        return
    training = study.training
    labelled, size, steps = batch_shape(
        training.batch_size, len(data.train), training.unlabelled_share
    )
    warn(
        f"{len(data.unlabelled):,} samples without labels: a model that learns from a teacher sees "
        f"{size - labelled} of them in each batch, beside {labelled} with labels; its epoch is one "
        f"pass over these, {steps:,} steps; models that learn from labels alone see none"
    )
