from __future__ import annotations

import json
from dataclasses import asdict

from tasearch.pareto.measurement import Measurement, latency_words
from tests.helpers.measurements import measurement


def test_measurement_survives_json() -> None:
    size = measurement(8, 0.1, (0.1, 0.3, 0.2))
    assert size.median_ms == 0.2
    assert Measurement.from_json(json.loads(json.dumps(asdict(size)))) == size
    bare = asdict(measurement(8, 0.1))
    del bare["rounds"]  # as tables of benchmarks have it
    assert Measurement.from_json(bare) == measurement(8, 0.1)
    assert Measurement.from_json(bare).median_ms == 0.1


def test_latency_words_name_tied_widths() -> None:
    pair = {
        8: measurement(8, 0.04453, (0.045123,)),
        4: measurement(4, 0.04453, (0.04394,)),
        2: measurement(2, 0.03),
    }
    assert latency_words(8, pair) == ("0.04453 ms, tied with width 4; its own median is 0.04512 ms")
    assert latency_words(2, pair) == "0.03 ms"
    many = pair | {6: measurement(6, 0.04453), 3: measurement(3, 0.04453)}
    assert latency_words(8, many) == (
        "0.04453 ms, tied with widths 4, 6 and 3; its own median is 0.04512 ms"
    )
