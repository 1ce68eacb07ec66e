"""Write the teacher that a run has trained as a file, for runs that share it.

.venv/bin/tasearch run benchmarks/tables/cifar10-teacher.toml --workers 1
.venv/bin/python -m benchmarks.table_teacher runs/cifar10-teacher cifar10-teacher.safetensors
"""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import save_file

from benchmarks import common
from tasearch.runs.directory import RunDirectory
from tasearch.runs.opening import find_run
from tasearch.runs.store import replicate


def write_teacher(run: RunDirectory, file: Path) -> float:
    """Write the weights of a run's teacher, of its first replicate.

    Args:
        run: A run that has trained its teacher.
        file: The safetensors file.

    Returns:
        The teacher's validation accuracy.
    """
    store, lineage = run.store(), (run.read().study.teacher.width,)
    for key in store.finished():
        record, saved = store.record("hops", key), store.load("hops", key)
        if record is not None and saved is not None and record.widths == lineage:
            save_file(replicate(saved[0], 0), file)
            return record.curves[0][-1]
    raise SystemExit(f"{run.path}: has not trained its teacher; continue it")


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("run", type=Path, help="run whose teacher is trained")
    parser.add_argument("file", type=Path, help="file for the weights, *.safetensors")
    args = parser.parse_args()
    accuracy = write_teacher(find_run(args.run, Path("runs")), args.file)
    print(f"{args.file}: {100 * accuracy:.2f}% of the validation samples")


if __name__ == "__main__":
    main()
