"""How near to the limits of a GPU does tasearch train, and what do the published chains give?

Each part runs alone, in some minutes at most, and replaces its own figures in the result:

    python -m benchmarks.cuda epochs       milliseconds of an epoch, one model and eight stacked
    python -m benchmarks.cuda loop         speed against a careful tutorial's loop on the same GPU
    python -m benchmarks.cuda latency      of batches of 1 and 256, eager and as a CUDA graph
    python -m benchmarks.cuda agreement    the same hops on CPU and on the GPU
    python -m benchmarks.cuda takd         the experiment of arXiv 1902.03393 as a study, which the
                                           same command continues; so do takd-dist and takd-dense

Models train by `Trainer`, as in a search. Where only speed is measured, networks are untrained and
soft targets are noise.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks import common
from benchmarks.cuda_agreement import agreement
from benchmarks.cuda_bench import CudaBench, image_counts
from benchmarks.cuda_published import STUDIES, published
from benchmarks.cuda_speed import epochs, latency, loop

PARTS: dict[str, Callable[[CudaBench], dict[str, Any]]] = {
    "epochs": epochs,
    "loop": loop,
    "latency": latency,
    "agreement": agreement,
}


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("part", choices=[*PARTS, *STUDIES], help="what to measure")
    parser.add_argument("--device", default="cuda", help="cpu tests the benchmark itself")
    parser.add_argument("--images", type=int, default=50_000, help="images of an epoch")
    parser.add_argument("--epochs", type=int, default=10, help="number of epochs that are timed")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of part loop")
    parser.add_argument("--seconds", type=float, default=15.0, help="time of the tutorial's loop")
    parser.add_argument("--minutes", type=float, default=8.5, help="time of a study in each call")
    common.add_data_option(parser)
    parser.add_argument("--runs", default="runs", help="folder of the studies' runs")
    common.add_out_option(parser, "cuda.json")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("PyTorch finds no CUDA device; --device cpu tests the benchmark itself")
    stored = json.loads(args.out.read_text("utf-8")) if args.out.exists() else {"parts": {}}
    provenance = common.provenance(args)
    with tempfile.TemporaryDirectory() as folder:
        file, images = Path(folder) / "images.npz", ""
        if args.part in PARTS:
            count, validation = image_counts(args.part, args)
            images = common.write_images(args.data, count, file, validation)
        bench = CudaBench(
            device=torch.device(args.device), images=file, epochs=args.epochs, args=args
        )
        found = PARTS[args.part](bench) if args.part in PARTS else published(bench, args.part)
    stored["question"] = common.question(__doc__)
    stored["parts"][args.part] = {"provenance": provenance | {"images": images}, "found": found}
    common.write_json(args.out, stored)


if __name__ == "__main__":
    main()
