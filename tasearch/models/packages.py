"""Models by name from torchvision and timm; both packages are optional."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from tasearch.config.teacher_section import TeacherSection
from tasearch.data.network import of_hub, of_urls, reason_of
from tasearch.errors import ModelError, raised, shown
from tasearch.models.families import Build
from tasearch.models.inputs import InputSpec


@dataclass(frozen=True, kw_only=True)
class OwnWeights:
    """What a package states of the weights that it has of a model.

    Args:
        classes: Number of their classes.
        inputs: The images that they expect.
    """

    classes: int
    inputs: InputSpec


def package_factory(name: str, *, pretrained: bool) -> Build:
    """A function like a user's factory, which builds a model of a package.

    The model takes images of three channels; of one channel, it gets that three times.

    Args:
        name: Name of the package and of the model, such as "timm:resnet18".
        pretrained: Whether it has the package's own weights.
    """
    package, _, model = name.partition(":")

    def make(*, in_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        _check_channels(in_shape)
        module = _imported(package)
        _check_name(model, _NAMES[package](module))
        net = _loaded(name, module, num_classes) if pretrained else None
        if net is None:
            net = _BUILD[package](module, model, num_classes)
        return _for_channels(net, in_shape)

    return make


def package_family(name: str) -> Build:
    """A function like a family's, which builds a model of a package with the arguments of a size.

    timm's models take images of any number of channels; torchvision's as a teacher's do. A model
    for images of one size alone is built for that of its images.

    Args:
        name: Name of the package and of the model, such as "timm:vit_tiny_patch16_224"; another
            model is built where the arguments have a `model_name`.
    """
    package, _, model = name.partition(":")

    def build(*, in_shape: tuple[int, ...], num_classes: int, **arguments: Any) -> nn.Module:
        if len(in_shape) != 3:
            raise ModelError(f"takes images, found samples of shape {in_shape}")
        chosen, module = arguments.pop("model_name", model), _imported(package)
        _check_name(chosen, _NAMES[package](module))
        if package == "timm":
            return _timm_sized(module, chosen, in_shape, num_classes, arguments)
        net: nn.Module = module.models.get_model(chosen, num_classes=num_classes, **arguments)
        return _for_channels(net, in_shape)

    return build


def input_spec(section: TeacherSection, in_shape: tuple[int, ...]) -> InputSpec:
    """The samples that a loaded teacher expects: what the study says, or else its package.

    Args:
        section: The section `[teacher]`.
        in_shape: Shape of a sample of the data: (channels, height, width) or (features,).

    Raises:
        ModelError: The samples of the data cannot be made into these.
    """
    size = None if section.size is None else (section.size[0], section.size[1])
    spec = InputSpec(size=size, mean=section.mean, std=section.std)
    if section.pretrained and section.factory is not None and section.package != "hf":
        try:
            stated = own_weights(section.factory).inputs
        except ModelError as error:
            raise ModelError(f"teacher.factory: {section.factory!r}: {error}") from None
        spec = replace(stated, **{k: v for k, v in vars(spec).items() if v is not None})
    spec.check(in_shape)
    return spec


def own_weights(name: str) -> OwnWeights:
    """What a package states of its own weights of a model.

    Args:
        name: Name of the package and of the model, such as "timm:resnet18".

    Raises:
        ModelError: The package is not there, or has no such weights.
    """
    package, _, model = name.partition(":")
    module = _imported(package)
    _check_name(model, _NAMES[package](module))
    found = _STATED[package](module, model)
    if found is None:
        raise ModelError(f"{package} has no weights of it; give a file as teacher.checkpoint")
    return found


def _loaded(name: str, module: Any, classes: int) -> nn.Module:
    """A model with its package's own weights, which are downloaded if they are not there yet."""
    package, _, model = name.partition(":")
    found = own_weights(name)
    if found.classes != classes:
        raise ModelError(
            f"its own weights are for {found.classes:,} classes, the data have {classes:,}; train "
            f"it on the data, and give its weights as teacher.checkpoint"
        )
    try:
        with of_urls():
            return _LOAD[package](module, model)
    except Exception as error:  # of the network, the file system or the package
        raise ModelError(
            f"its own weights cannot be had: {reason_of(error)}; where there is no network, "
            f"give a file of them as teacher.checkpoint"
        ) from error


def _imported(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name == package:
            raise ModelError(
                f"needs {package}, which is not installed: pip install 'tasearch[{package}]'"
            ) from None
        raise ModelError(f"importing {package} raised {shown(raised(error))}") from error
    except Exception as error:
        remedy = other_torch(error) or f"install the build of {package} for {_TORCH}"
        raise ModelError(f"importing {package} raised {shown(raised(error))}; {remedy}") from error


def other_torch(error: BaseException | None) -> str:
    """What to do if an error comes from a torchvision built for another torch; empty otherwise.

    Other packages import it where it is installed, and raise errors of their own.
    """
    while error is not None:
        if "operator torchvision::" in str(error):
            return f"install the build of torchvision for {_TORCH}"
        error = error.__cause__ or error.__context__
    return ""


def _check_name(model: Any, known: Iterable[str]) -> None:
    names = {*known}
    model = str(model)
    if model.partition(".")[0] in names:  # what follows the dot is a tag of timm's weights
        return
    near = difflib.get_close_matches(model, names, n=3)
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise ModelError(f"there is no such model for classification{hint}")


def _check_channels(in_shape: tuple[int, ...]) -> None:
    if len(in_shape) != 3 or in_shape[0] not in (1, 3):
        raise ModelError(f"takes images of 1 or 3 channels, found samples of shape {in_shape}")


def _for_channels(net: nn.Module, in_shape: tuple[int, ...]) -> nn.Module:
    """A model of three channels, for images of as many or of one."""
    _check_channels(in_shape)
    if in_shape[0] == 1:
        net.register_forward_pre_hook(_in_three_channels)
    return net


def _in_three_channels(net: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Grey images (samples, 1, height, width) as (samples, 3, height, width)."""
    x, *rest = args
    return (x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x, *rest)


def _torchvision_names(module: Any) -> list[str]:
    names: list[str] = module.models.list_models(module=module.models)
    return names


def _torchvision_model(module: Any, model: str, classes: int) -> nn.Module:
    net: nn.Module = module.models.get_model(model, weights=None, num_classes=classes)
    return net


def _torchvision_loaded(module: Any, model: str) -> nn.Module:
    net: nn.Module = module.models.get_model(model, weights="DEFAULT", progress=False)
    return net


def _torchvision_stated(module: Any, model: str) -> OwnWeights | None:
    known = [*module.models.get_model_weights(model)]
    if not known:
        return None
    weights = module.models.get_model_weights(model).DEFAULT
    images = weights.transforms()
    side = images.crop_size[0]
    spec = InputSpec(size=(side, side), mean=tuple(images.mean), std=tuple(images.std))
    return OwnWeights(classes=len(weights.meta["categories"]), inputs=spec)


def _timm_names(module: Any) -> list[str]:
    names: list[str] = module.list_models()
    return names


def _timm_model(module: Any, model: str, classes: int) -> nn.Module:
    net: nn.Module = module.create_model(model, pretrained=False, num_classes=classes)
    return net


def _timm_sized(
    module: Any, model: str, in_shape: tuple[int, ...], classes: int, arguments: dict[str, Any]
) -> nn.Module:
    stated = module.models.get_pretrained_cfg(model)
    own = {"img_size": in_shape[1:]} if stated is not None and stated.fixed_input_size else {}
    shape = {"in_chans": in_shape[0], "num_classes": classes}
    net: nn.Module = module.create_model(model, **shape, **{**own, **arguments})
    return net


def _timm_loaded(module: Any, model: str) -> nn.Module:
    with of_hub():
        net: nn.Module = module.create_model(model, pretrained=True)
    return net


def _timm_stated(module: Any, model: str) -> OwnWeights | None:
    found = module.models.get_pretrained_cfg(model)
    if found is None or not found.has_weights:
        return None
    _, height, width = found.input_size
    spec = InputSpec(size=(height, width), mean=tuple(found.mean), std=tuple(found.std))
    return OwnWeights(classes=found.num_classes, inputs=spec)


_TORCH = f"torch {torch.__version__}"
_NAMES = {"torchvision": _torchvision_names, "timm": _timm_names}
_BUILD = {"torchvision": _torchvision_model, "timm": _timm_model}
_LOAD = {"torchvision": _torchvision_loaded, "timm": _timm_loaded}
_STATED: dict[str, Callable[[Any, str], OwnWeights | None]] = {
    "torchvision": _torchvision_stated,
    "timm": _timm_stated,
}
