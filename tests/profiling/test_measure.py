from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from tasearch.config.latency_section import LatencySection
from tasearch.errors import ModelError, StudyError
from tasearch.models import FAMILIES, Standardized
from tasearch.profiling.call_limits import check_calls
from tasearch.profiling.calls import MAX_INPUTS, rotated_inputs
from tasearch.profiling.counts import forward_flops
from tasearch.profiling.cuda_latency import cuda_latency
from tasearch.profiling.measure import measure
from tasearch.profiling.onnx import onnx_session, timed_models, to_onnx
from tasearch.profiling.reference import WIDTH as REFERENCE_WIDTH
from tasearch.profiling.reference import reference_net
from tasearch.profiling.ties import tied_latencies
from tasearch.profiling.timing import LEAST_ROUNDS
from tests.helpers.studies import IMAGES_ONLY, LADDERS

CPU = torch.device("cpu")


def shipped(family: str, width: int, in_shape: tuple[int, ...]) -> Standardized:
    net = FAMILIES[family](width, in_shape=in_shape, num_classes=10)
    for _ in range(3):
        net(torch.randn(16, *in_shape))  # gives batch norm something to fold
    module = Standardized(net, torch.full((1,) * len(in_shape), 3.0), torch.tensor(2.0))
    module.eval()
    return module


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "in_shape"),
    [
        (family, in_shape)
        for family in LADDERS
        for in_shape in ((3, 9, 8), (20,))
        if len(in_shape) == 3 or family not in IMAGES_ONLY
    ],
    ids=str,
)
def test_onnx_equals_torch_at_any_batch_size(family: str, in_shape: tuple[int, ...]) -> None:
    module = shipped(family, LADDERS[family][-2], in_shape)
    session = onnx_session(to_onnx(module, in_shape), threads=1)
    for batch in (1, 2, 7):
        x = torch.randn(batch, *in_shape)
        (logits,) = session.run(None, {"x": x.numpy()})
        assert np.abs(logits - module(x).detach().numpy()).max() < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["onnx", "torch"])
def test_measure_supports_both_backends(backend: str) -> None:
    nets = {w: shipped("cnn", w, (1, 8, 8)) for w in (8, 2)}
    section = LatencySection(backend=backend)
    measured, timing = measure(nets, in_shape=(1, 8, 8), section=section, device=CPU)
    # two convolutions (72 and 1152 weights), norms (16 and 32), dense layer (170)
    assert measured[8].params == 72 + 1152 + 16 + 32 + 170
    buffers = 2 * 8 + 2 * 16  # running means and variances
    counters, standard = 2 * 8, 2 * 4  # two int64, mean and spread
    assert measured[8].bytes == 4 * (measured[8].params + buffers) + counters + standard
    assert measured[2].params < measured[8].params
    for m in measured.values():
        assert 0 < m.median_ms <= m.latency_p95_ms
        assert m.latency_ms > 0
        for values in (m.rounds.medians_ms, m.rounds.spreads):
            assert len(values) == len(timing.reference.medians_ms) >= LEAST_ROUNDS
    assert min(timing.reference.medians_ms) > 0
    latencies = {width: m.rounds.medians_ms for width, m in measured.items()}
    assert tied_latencies(latencies) == {width: m.latency_ms for width, m in measured.items()}


def test_flops_count_a_multiply_add_twice() -> None:
    assert forward_flops(nn.Linear(5, 7), (5,)) == 2 * 5 * 7
    conv = nn.Conv2d(3, 4, 3, padding=1)
    assert forward_flops(conv, (3, 8, 8)) == 2 * 3 * 4 * 9 * 64


def test_measure_restores_the_number_of_threads() -> None:
    torch.set_num_threads(2)
    nets = {2: shipped("mlp", 2, (4,))}
    measure(nets, in_shape=(4,), section=LatencySection(backend="torch"), device=CPU)
    assert torch.get_num_threads() == 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("batch", [1, 64])
def test_cuda_latency_reads_both_clocks(batch: int) -> None:
    found = cuda_latency(shipped("cnn", 8, (1, 8, 8)), (1, 8, 8), batch, torch.device("cuda"))
    assert set(found) == {"eager", "graph"}
    for times in found.values():
        assert times["device_ms"] > 0
        assert times["host_ms"] > 0


class Failing(nn.Module):
    """A model that raises an error for large batches.

    Args:
        most: Largest number of samples that it accepts.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > self.most:
            raise ValueError(f"{self.most} samples at most\nand no more")
        return x


def test_measure_names_the_model_that_fails() -> None:
    nets = {8: nn.Linear(4, 2), 4: Failing(20)}
    section = LatencySection(backend="torch", batch=21)
    with pytest.raises(ModelError) as error:
        measure(nets, in_shape=(4,), section=section, device=CPU)
    assert str(error.value) == (
        "width 4: a timed call with latency.batch = 21 failed: ValueError: 20 samples at most"
    )


def test_measure_names_the_width_that_onnx_runtime_refuses() -> None:
    section = LatencySection(batch=3)
    other = timed_models({4: nn.Linear(5, 2)}, (5,), 3)
    with pytest.raises(ModelError) as error:
        measure({4: nn.Linear(4, 2)}, in_shape=(4,), section=section, device=CPU, models=other)
    found = r"^width 4: a timed call with latency.batch = 3 failed: InvalidArgument: .*dimensions"
    assert re.match(found, str(error.value))
    with pytest.raises(ModelError) as error:
        measure({4: nn.Linear(4, 2)}, in_shape=(4,), section=section, device=CPU, models={4: b"?"})
    assert str(error.value).startswith(
        "width 4: a timed call with latency.batch = 3 failed: InvalidProtobuf: "
    )


def test_reference_net_is_the_same_in_both_backends() -> None:
    net, model = reference_net()
    assert model == reference_net()[1]
    x = torch.randn(1, REFERENCE_WIDTH)
    (found,) = onnx_session(model, threads=1).run(None, {"x": x.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), net(x))
    onnx.checker.check_model(onnx.load_from_string(model), full_check=True)


def test_rotated_inputs_are_fewer_where_they_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    assert rotated_inputs((3, 4), 5).shape == (MAX_INPUTS, 5, 3, 4)
    monkeypatch.setattr("tasearch.profiling.calls.MAX_INPUTS_GB", 3 * 4 * 5 * 12 / 2**30)
    assert rotated_inputs((3, 4), 5).shape == (3, 5, 3, 4)
    assert rotated_inputs((3, 4), 50).shape == (1, 50, 3, 4)


def linear() -> nn.Module:
    return nn.Linear(64, 10)


def test_check_calls_refuses_samples_that_do_not_fit() -> None:
    section = LatencySection(batch=65_536)
    with pytest.raises(StudyError) as error:
        check_calls({4: nn.Identity()}, (3, 224, 224), section, CPU)
    assert str(error.value) == (
        "latency.batch: should be at most 1,783, for samples of 3 x 224 x 224 may take 1 GiB "
        "in one call; found 65,536"
    )
    check_calls({4: linear()}, (64,), section, CPU)


class Growing(nn.Module):
    """A model with 2 ** 17 floats per sample in one operation, and a large weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, 2**22))

    def forward(self, x: Tensor) -> Tensor:
        return (x.repeat(1, 2**15) + self.weight[:, : 2**17]).sum(1, keepdim=True)


def test_check_calls_refuses_activations_that_do_not_fit() -> None:
    check_calls({4: Growing()}, (4,), LatencySection(batch=4096), CPU)  # of 2 ** 20 bytes each
    with pytest.raises(StudyError) as error:
        check_calls({8: nn.Linear(4, 2), 4: Growing()}, (4,), LatencySection(batch=4100), CPU)
    assert str(error.value) == (
        "latency.batch: should be at most 4,096, for one operation of width 4 may take 4 GiB; "
        "found 4,100"
    )


def test_check_calls_refuses_a_batch_that_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(100))  # a second a call
    monkeypatch.setattr(
        "tasearch.profiling.call_limits.time.perf_counter", lambda: float(next(now))
    )
    with pytest.raises(StudyError) as error:
        check_calls({4: linear()}, (64,), LatencySection(batch=500), CPU)
    assert str(error.value) == (
        "latency.batch: should be at most 480, for one call of width 4 may take 10 s; found 500"
    )


def test_check_calls_names_a_model_that_fails_with_a_small_batch() -> None:
    with pytest.raises(ModelError) as error:
        check_calls({4: Failing(15)}, (4,), LatencySection(batch=20), CPU)
    assert str(error.value) == (
        "width 4: a call with 16 samples failed: ValueError: 15 samples at most"
    )


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


def test_to_onnx_names_a_model_that_cannot_be_exported() -> None:
    found = r"^the model cannot be exported to ONNX: \w+: .*data-dependent"
    with pytest.raises(ModelError, match=found):
        to_onnx(Branching(), (4,))


def operators(model: bytes, file: Path) -> list[str]:
    """Operators of a model as ONNX Runtime runs it, after its optimizations."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(file)
    options.log_severity_level = 3  # it warns that the file is for this machine
    onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(file).graph.node]


@pytest.mark.slow
@pytest.mark.parametrize("family", LADDERS)
def test_timed_models_run_the_operators_of_exported_ones(family: str, tmp_path: Path) -> None:
    in_shape, batch = (3, 9, 8), 2
    nets = {width: shipped(family, width, in_shape) for width in LADDERS[family][-2:]}
    x = torch.randn(batch, *in_shape)
    models = timed_models(nets, in_shape, batch)
    assert [*models] == [*nets]
    for width, net in nets.items():
        session = onnx_session(models[width], threads=1)
        (logits,) = session.run(None, {"x": x.numpy()})
        assert np.abs(logits - net(x).detach().numpy()).max() < 1e-5
        whole = to_onnx(net, in_shape)
        found = operators(models[width], tmp_path / "timed.onnx")
        assert found == operators(whole, tmp_path / "shipped.onnx")
        assert "BatchNormalization" not in found


@pytest.mark.slow
def test_timed_models_name_the_one_that_cannot_be_exported() -> None:
    nets = {8: nn.Linear(4, 2), 4: Branching(), 2: nn.Linear(4, 2)}
    with pytest.raises(
        ModelError, match=r"^width 4: the model cannot be exported to ONNX: \w+: .*data-dependent"
    ):
        timed_models(nets, (4,), 1)
