"""What happens next to a queued chain."""

from __future__ import annotations

import shutil
from pathlib import Path

import tasearch
from tasearch.report.queue_text import next_text
from tasearch.runs.run import Run
from tasearch.runs.verdict_file import write_confirmations
from tasearch.runs.verdicts import Confirmation, LookPlan
from tasearch.search.enqueue import enqueue
from tests.helpers.runs import proposed


def test_queued_chain_waits_for_more_trials_and_no_confirmation_tries_it(
    finished: tasearch.Run, tmp_path: Path
) -> None:
    shutil.copytree(finished.path, tmp_path / "tiny")
    tried = {trial.chain for trial in finished.trials}
    free = ((16, 12, 8, w) for w in (6, 4, 2))
    chain = next(chain for chain in [*free, (16, 12, 6, 4), (16, 12, 6, 2)] if chain not in tried)
    enqueue(tmp_path / "tiny", chain)
    more = len(proposed(finished)) + 1
    run = Run.open(tmp_path / "tiny")
    again = f"`tasearch run` on the same study tries it, with --trials {more} or more"
    assert next_text(run) == again
    with run.directory.locked():
        assert next_text(run).startswith("the search that is going on tries it")
        write_confirmations(run.path, [Confirmation(plan=LookPlan(), comparisons=())])
        words = "a confirmation of this run is going on, and does not try it; afterwards "
        assert next_text(Run.open(run.path)) == words + again
