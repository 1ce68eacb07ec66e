"""The functions that make a study's models, looked up once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tasearch.config import plugins
from tasearch.config.study import Study
from tasearch.data.ids import Ids
from tasearch.models.families import FAMILIES, Build
from tasearch.models.functions import ModelFunction, ReturnedParameters
from tasearch.models.hf import hf_factory, hf_family
from tasearch.models.packages import package_factory, package_family
from tasearch.models.tokens import tokens_of


@dataclass(frozen=True, kw_only=True)
class StudyFunctions:
    """The functions that make a study's models.

    Args:
        study: The study, which names the family and the teacher's factory.
        in_shape: Shape of a sample: (channels, height, width) or (features,).
        num_classes: Number of classes.
        ids: What samples of integers hold; None for others.
    """

    study: Study
    in_shape: tuple[int, ...]
    num_classes: int
    ids: Ids | None = None

    @cached_property
    def family(self) -> ModelFunction:
        """The function that builds models of any width."""
        path, section = "model.family", self.study.model
        if section.package is not None:
            name, root = section.family, self.study.root
            function = hf_family(name, root) if section.package == "hf" else package_family(name)
        else:
            function = plugins.resolve(section.family, FAMILIES, path=path, root=self.study.root)
        return self._function(path, section.family, function, section.options(), takes_width=True)

    @cached_property
    def factory(self) -> ModelFunction:
        """The function that makes the teacher, of which there must be one."""
        path, section = "teacher.factory", self.study.teacher
        assert section.factory is not None
        if section.package is not None:
            name, own = section.factory, section.pretrained
            if section.package == "hf":
                function = hf_factory(name, self.study.root, pretrained=own)
            else:
                function = package_factory(name, pretrained=own)
        else:
            function = plugins.resolve(section.factory, {}, path=path, root=self.study.root)
        return self._function(path, section.factory, function, {}, takes_width=False)

    def _function(
        self, path: str, name: str, function: Build, options: dict[str, Any], *, takes_width: bool
    ) -> ModelFunction:
        shapes = {"in_shape": self.in_shape, "num_classes": self.num_classes}
        return ModelFunction(
            path=path,
            name=name,
            function=function,
            takes_width=takes_width,
            options=shapes | options,
            returned=self._returned,
            tokens=tokens_of(self.ids, self.in_shape, self.study.data.pad),
            sizes=self.study.model.arguments if takes_width else {},
        )

    @cached_property
    def _returned(self) -> ReturnedParameters:
        return ReturnedParameters()
