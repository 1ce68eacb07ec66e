"""The tokenizer beside a teacher's weights, which should be that of the data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from tasearch.config.data_section import HUB_PREFIX
from tasearch.config.study import Study
from tasearch.config.teacher_section import TeacherSection
from tasearch.data.hub_tokenizer import given_tokenizer
from tasearch.data.tokenizer import TextTokenizer, read_tokenizer
from tasearch.errors import DataError, quoted

FILE = "tokenizer.json"


def check_tokenizer(
    study: Study, text: TextTokenizer | None, warn: Callable[[str], None] = lambda notice: None
) -> None:
    """Compare the tokenizer of the data with those that lie beside the teacher's weights.

    Args:
        study: The study.
        text: How texts became token ids; None for other data.
        warn: Called with a notice about a tokenizer beside a checkpoint, which may have nothing to
            do with it.

    Raises:
        DataError: The folder of a teacher of the package transformers has another tokenizer.
    """
    if text is None:
        return
    for section in study.teacher.models:
        for folder, certain in _folders(section):
            notice = _difference(text, folder, study.root)
            if notice and certain:
                raise DataError(f"data.tokenizer: {notice}")
            if notice:
                warn(f"data.tokenizer: {notice} if the teacher was trained with it")


def _folders(section: TeacherSection) -> Iterator[tuple[str, bool]]:
    """Folders of a teacher's weights, and whether a tokenizer there is certainly the teacher's."""
    if section.factory is not None and section.factory.startswith(HUB_PREFIX) and section.loaded:
        yield section.factory.removeprefix(HUB_PREFIX), section.pretrained
    if section.checkpoint is not None:
        yield str(Path(section.checkpoint).parent), False


def _difference(text: TextTokenizer, folder: str, root: str) -> str:
    """How a folder's tokenizer differs from that of the data, and what to do; empty if it has none
    or one of the same tokens."""
    file = Path(folder) / FILE
    if not (Path(root) / file).is_file():
        return ""
    try:
        content, where = given_tokenizer(str(file), root)
        theirs = read_tokenizer(content, where).get_vocab(with_added_tokens=True)
    except DataError:
        return ""  # it was not asked for
    own = read_tokenizer(text.content, "the tokenizer").get_vocab(with_added_tokens=True)
    other = sorted(token for token, number in own.items() if theirs.get(token) != number)
    if not other:
        return ""
    return (
        f"{len(other):,} of {len(own):,} tokens have other ids than in {file}, which is beside the "
        f"teacher's weights; set data.tokenizer = {quoted(str(file))}"
    )
