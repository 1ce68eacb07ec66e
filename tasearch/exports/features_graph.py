"""A table's features as a part of the student's ONNX graph, so that it takes rows as they are."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
import onnx.compose
import pyarrow as pa
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from tasearch.data.features import NUMBER, Column, Features

ML = "ai.onnx.ml"  # the domain of the operator for categories
ML_VERSION = 3
X, LOGITS = "x", "logits"  # input and output of the student's graph
OWN, STUDENT = "features/", "student/"  # before the names of values and nodes


def with_features(model: bytes, features: Features) -> bytes:
    """A student's graph that takes rows of a table.

    It has an input for each column, of shape (rows, 1): float32 for a number, where NaN is missing,
    and string for a category, where "" is missing.

    Args:
        model: Serialized ONNX model with input `x` (rows, features) and output `logits`.
        features: How rows become features.
    """
    student = onnx.load_from_string(model)
    props = {entry.key: entry.value for entry in student.metadata_props}
    prefixed = onnx.compose.add_prefix(student, STUDENT, rename_outputs=False)
    joined = onnx.compose.merge_models(
        _graph(features, student), prefixed, io_map=[(OWN + X, STUDENT + X)]
    )
    helper.set_model_props(joined, props)
    onnx.checker.check_model(joined)
    return bytes(joined.SerializeToString())


def inputs_of(rows: pa.Table, features: Features) -> dict[str, np.ndarray]:
    """Rows as inputs of the graph.

    Args:
        rows: Columns of float64 and string; null is missing.
        features: How rows become features.
    """
    found = {}
    for column in features.columns:
        values = rows.column(column.name)
        if column.kind == NUMBER:
            found[column.name] = np.asarray(values.fill_null(np.nan), dtype=np.float32)[:, None]
        else:
            texts = np.array(values.fill_null("").to_pylist(), dtype=object)
            found[column.name] = texts[:, None]
    return found


def _graph(features: Features, student: ModelProto) -> ModelProto:
    """The graph from rows to features."""
    nodes: list[NodeProto] = []
    parts: list[str] = []
    for number, column in enumerate(features.columns):
        own = f"{OWN}{number}"
        nodes += _number(column, own) if column.kind == NUMBER else _category(column, own)
        parts.append(own)
    nodes.append(helper.make_node("Concat", parts, [OWN + X], axis=1))
    inputs = [_input(column) for column in features.columns]
    output = helper.make_tensor_value_info(
        OWN + X, TensorProto.FLOAT, ["batch", len(features.names)]
    )
    versions = {entry.domain: entry.version for entry in student.opset_import} | {ML: ML_VERSION}
    graph = helper.make_graph(nodes, "features", inputs, [output])
    opsets = [helper.make_opsetid(domain, version) for domain, version in versions.items()]
    return helper.make_model(graph, opset_imports=opsets, ir_version=student.ir_version)


def _input(column: Column) -> ValueInfoProto:
    kind = TensorProto.FLOAT if column.kind == NUMBER else TensorProto.STRING
    return helper.make_tensor_value_info(column.name, kind, ["batch", 1])


def _number(column: Column, out: str) -> Iterator[NodeProto]:
    """A number with its gaps filled, and where they are."""
    yield _constant(f"{out}/fill", np.array([[column.fill]], dtype=np.float32))
    yield helper.make_node("IsNaN", [column.name], [f"{out}/missing"])
    filled = f"{out}/filled" if column.gap else out
    yield helper.make_node("Where", [f"{out}/missing", f"{out}/fill", column.name], [filled])
    if column.gap:
        yield helper.make_node(
            "Cast", [f"{out}/missing"], [f"{out}/as number"], to=TensorProto.FLOAT
        )
        yield helper.make_node("Concat", [filled, f"{out}/as number"], [out], axis=1)


def _category(column: Column, out: str) -> Iterator[NodeProto]:
    """A category as columns of 0 and 1; a value that is not known has 0 in all of them."""
    values = [*column.values, *[""] * column.gap]
    yield helper.make_node(
        "OneHotEncoder", [column.name], [f"{out}/hot"], domain=ML, cats_strings=values, zeros=1
    )
    yield _constant(f"{out}/shape", np.array([-1, len(values)], dtype=np.int64))
    yield helper.make_node("Reshape", [f"{out}/hot", f"{out}/shape"], [out])


def _constant(name: str, value: np.ndarray) -> NodeProto:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value))
