"""What is downloaded, where there is no network: one message in plain words, and no retries."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

import pytest

from tasearch.config.study_file import parse_study
from tasearch.data import load_data
from tasearch.data.hub_tokenizer import given_tokenizer
from tasearch.data.ids import Tokens
from tasearch.data.network import NoNetwork, of_hub, reason_of, unreachable
from tasearch.errors import TasearchError
from tasearch.models.hf import hf_factory, hf_family
from tasearch.models.packages import package_factory
from tests.helpers.packages import package

UNKNOWN = "Name or service not known"
TOKENS = Tokens(vocabulary=30, pad=0, cls=2, sep=3, length=8)
IMAGES: Any = {"in_shape": (3, 32, 32), "num_classes": 1000}
SHAPES: dict[str, Any] = {  # by the package of a model
    "timm": IMAGES,
    "torchvision": IMAGES,
    "transformers": {"in_shape": (8,), "num_classes": 2, "tokens": TOKENS},
}


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A machine that finds the address of no host, with empty caches; the hosts it looked for."""
    hosts: list[str] = []

    def unknown(host: Any, *args: Any, **options: Any) -> Any:
        hosts.append(str(host))
        raise socket.gaierror(socket.EAI_NONAME, UNKNOWN)

    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "HF_HUB_OFFLINE"):
        for form in (name, name.lower()):
            monkeypatch.delenv(form, raising=False)
    monkeypatch.setenv("TASEARCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    for name in ("huggingface_hub.constants", "datasets.config"):  # they read it when imported
        if find_spec(name.partition(".")[0]) is not None:
            monkeypatch.setattr(import_module(name), "HF_HUB_OFFLINE", False)
    return hosts


def set_of_data(source: str) -> Callable[[Path], Any]:
    def load(root: Path) -> Any:
        return load_data(parse_study({"data": {"source": source}}))

    return load


ASKED: dict[str, tuple[str, Callable[[Path], Any], str, str]] = {
    # package, call, why it fails, what to do
    "set of torchvision": (
        *("torchvision.datasets", set_of_data("torchvision:CIFAR10")),
        f"its host cannot be reached ({UNKNOWN})",
        "run once where there is a network, or copy ",
    ),
    "set of the Hub": (
        *("datasets", set_of_data("hf:no/such")),
        f"huggingface.co cannot be reached ({UNKNOWN})",
        "run once where there is a network, or copy ",
    ),
    "set of OpenML": (
        *("pandas", set_of_data("openml:credit-g")),
        f"its host cannot be reached ({UNKNOWN})",
        "run once where there is a network, or copy ",
    ),
    "tokenizer": (
        *("tokenizers", lambda root: given_tokenizer("hf:no/such", str(root))),
        f"huggingface.co cannot be reached ({UNKNOWN})",
        "or bring its file tokenizer.json and name its path",
    ),
    "teacher of torchvision": (
        *("torchvision", lambda root: package_factory("torchvision:alexnet", pretrained=True)),
        f"its own weights cannot be had: its host cannot be reached ({UNKNOWN})",
        "where there is no network, give a file of them as teacher.checkpoint",
    ),
    "teacher of timm": (
        *("timm", lambda root: package_factory("timm:resnet18", pretrained=True)),
        f"its own weights cannot be had: huggingface.co cannot be reached ({UNKNOWN})",
        "where there is no network, give a file of them as teacher.checkpoint",
    ),
    "teacher of the Hub": (
        *("transformers", lambda root: hf_factory("hf:no/such", str(root), pretrained=True)),
        f"the hub does not give it: huggingface.co cannot be reached ({UNKNOWN})",
        "there is no folder ",
    ),
    "family of the Hub": (
        *("transformers", lambda root: hf_family("hf:no/such", str(root))),
        f"the hub does not give it: huggingface.co cannot be reached ({UNKNOWN})",
        "there is no folder ",
    ),
}


@pytest.mark.packages
@pytest.mark.parametrize("case", ASKED)
def test_download_without_a_network_is_told_at_once(
    case: str, asked: list[str], tmp_path: Path
) -> None:
    name, call, why, advice = ASKED[case]
    package(name)
    make: Callable[..., Any] = call if name not in SHAPES else call(tmp_path)
    with pytest.raises(TasearchError) as error:
        make(**SHAPES[name]) if name in SHAPES else make(tmp_path)
    assert why in str(error.value) and advice in str(error.value)
    assert 1 <= len(asked) <= 2  # by itself, the client of the Hub asks seven times or more


@pytest.mark.packages
def test_files_of_the_hub_that_are_there_need_no_network(asked: list[str], tmp_path: Path) -> None:
    hub = package("huggingface_hub")
    home = tmp_path / "models--own--words"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text("0" * 40)
    (home / "snapshots" / ("0" * 40)).mkdir(parents=True)
    (home / "snapshots" / ("0" * 40) / "tokenizer.json").write_text("{}")
    with of_hub():
        found = hub.hf_hub_download("own/words", "tokenizer.json", cache_dir=tmp_path)
    assert Path(found).read_text() == "{}"
    with pytest.raises(NoNetwork, match="cannot be reached"), of_hub():
        hub.hf_hub_download("own/words", "config.json", cache_dir=tmp_path)
    assert not hub.constants.HF_HUB_OFFLINE


def test_host_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "create_connection", lambda *args, **options: time.sleep(60))
    assert unreachable("https://huggingface.co", 0.1) == "no answer within 0.1 s"


def test_proxy_is_asked_in_the_place_of_a_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        assert unreachable("https://nowhere.invalid") == ""
    assert unreachable("https://nowhere.invalid") == "Connection refused"
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert unreachable(f"http://127.0.0.1:{port}") == "Connection refused"


def test_reason_of_a_refused_download_has_its_kind() -> None:
    assert reason_of(URLError(TimeoutError("timed out"))) == (
        "its host cannot be reached (timed out)"
    )
    refused = HTTPError("https://nowhere.invalid", 404, "Not Found", {}, None)  # type: ignore[arg-type]
    assert reason_of(refused) == "HTTPError: HTTP Error 404: Not Found"
