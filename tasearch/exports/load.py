"""Loading an exported student."""

from __future__ import annotations

from pathlib import Path

import torch

from tasearch.config import plugins
from tasearch.config.arguments import check_path
from tasearch.config.guard import contained
from tasearch.config.study import Study
from tasearch.config.study_file import load_study
from tasearch.errors import ExportError, quoted
from tasearch.exports import weights_file
from tasearch.exports.loaded import LoadedStudent
from tasearch.exports.tokenizer_file import read_tokenizer_file
from tasearch.exports.trust import check_trust
from tasearch.exports.weights_file import StudentWeights
from tasearch.models import Models


@contained("code that the export names")
def load(folder: str | Path, *, trust: bool = False) -> LoadedStudent:
    """Load an exported student.

    Args:
        folder: Folder that `export` wrote.
        trust: Whether a model family that is user code may be imported, which runs it.

    Returns:
        The module on the CPU, in eval mode. It takes raw samples (samples, *in_shape): float32, or
        the integers of a training on such; images as the arrays of the training had them, with
        channels last or first. It returns logits (samples, classes); `class_names`
        names the classes, `predict` those of samples.

    Raises:
        ExportError: If the folder is no export, if its weights do not fit the family, or if the
            family is user code and not trusted.
        StudyError: If the family is user code and cannot be imported.

    Example:
        ```python
        model = tasearch.load("winner")
        names = model.predict(torch.zeros(1, 1, 8, 8)).labels
        ```
    """
    folder = check_path(folder, "folder", ExportError).absolute()
    file = folder / weights_file.NAME
    weights = weights_file.read_weights(file)
    if not (folder / "chain.toml").is_file():
        raise ExportError(f"{folder / 'chain.toml'}: no such file; it names the student's family")
    study = load_study(folder / "chain.toml")
    family = {"model.family": study.model.own_family}
    check_trust(family, study, trust=trust, what=f"{folder}: loading it")
    # Another width could be a teacher's, whose own factory nothing has asked to trust.
    if weights.width not in study.student.widths:
        raise ExportError(
            f"{file}: is no exported student of chain.toml: its width is {quoted(weights.width)}, "
            f"the study's are {list(study.student.widths)}"
        )
    plugins.new_run()
    models = _models(study, weights)
    if study.expects.family not in (None, models.family):
        raise ExportError(
            f"{folder}: the student was trained with {study.expects.family!r}, and the code is now "
            f"{models.family!r}: it would answer otherwise; put the code back, or use student.onnx"
        )
    module = LoadedStudent(
        models.build(weights.width),
        *map(torch.clone, (models.mean, models.std)),
        in_shape=weights.in_shape,
        channels_last=weights.channels_last,
        class_names=weights.class_names,
        features=weights.features,
        ids=weights.ids,
        text=read_tokenizer_file(folder, weights),
    )
    try:
        module.load_state_dict(weights.state)
    except RuntimeError as error:
        raise ExportError(f"{file}: does not fit the family as it is now: {error}") from None
    return module.eval()


def _models(study: Study, weights: StudentWeights) -> Models:
    return Models(
        study=study,
        in_shape=weights.in_shape,
        num_classes=len(weights.class_names),
        mean=weights.scale["mean"],
        std=weights.scale["std"],
        ids=weights.ids,
    )
