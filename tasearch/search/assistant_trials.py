"""Assistants that are candidates themselves: which of them become trials, and when.

An assistant within the budget is a student too. It enters the study as a trial of its own, a "free"
one: it costs nothing more and does not count.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from tasearch.chains.hop import Hop, ModelSpec
from tasearch.pareto.skyline import Thresholds

Pending = tuple[Hop, Mapping[str, Thresholds]]  # an assistant, and its chain's thresholds by hop


class AssistantTrials:
    """The assistants of the last proposal, and the hops that have a trial already.

    No student may have two complete trials. So an assistant becomes no trial if it is the student
    of a complete one. While it is the student of a running trial that may still be pruned, it has
    to wait; until then nothing else is proposed.

    While the trials of earlier searches are recalled, no assistant becomes a new trial. Those that
    should (because a kill came before, or because the budget admits them now) follow at the end of
    the recall.

    Args:
        key: Function that returns the key of a hop.
        teacher: The teacher of all chains.
        is_candidate: Function that tells whether a hop's model is within the budget.
        complete: Keys of hops that are the student of a complete trial; others add to it.

    Attributes:
        needed: Keys of hops that some trial needs trained to their last epoch.
    """

    def __init__(
        self,
        *,
        key: Callable[[Hop], str],
        teacher: ModelSpec,
        is_candidate: Callable[[Hop], bool],
        complete: Collection[str],
    ) -> None:
        self._key, self._teacher = key, teacher
        self._is_candidate, self._complete = is_candidate, complete
        self.needed: set[str] = set()
        self._entered: set[str] = set()  # hops whose trial is, or will be, complete
        self._prunable: dict[str, int] = {}  # number of the trial that may be pruned, by hop
        self._pending: list[Pending] = []
        self._reopened: set[tuple[int, str]] = set()  # batch of retries, and key of a hop
        self._recalling = True
        self._postponed: dict[str, Pending] = {}

    @property
    def waiting(self) -> bool:
        """Whether an assistant has to wait until a running trial ends."""
        return bool(self._pending)

    def propose(self, ancestors: Sequence[Hop], thresholds: Mapping[str, Thresholds]) -> None:
        """Take in the hops before the student of a new proposal.

        Args:
            ancestors: These hops, in order.
            thresholds: Thresholds of the proposal's hops, by key of the hop.
        """
        self._pending = [(hop, thresholds) for hop in ancestors]

    def due(self, running: Collection[int]) -> Iterator[Pending]:
        """The assistants that become trials now; each must be started before the next one is taken.

        Args:
            running: Numbers of the running trials.
        """
        while self._pending:
            hop, thresholds = self._pending[0]
            key = self._key(hop)
            if key not in self.needed and self._prunable.get(key) in running:
                break
            del self._pending[0]
            if key in self.needed:
                continue
            self.needed.add(key)
            known = key in self._entered or key in self._complete
            if hop.lineage == (self._teacher,) or not self._is_candidate(hop) or known:
                continue
            if self._recalling:
                self._postponed[key] = hop, thresholds
            else:
                yield hop, thresholds

    def start(self, key: str, number: int, *, whole: bool) -> None:
        """Note the student of a trial that starts.

        Args:
            key: Key of the student's hop.
            number: Number of the trial.
            whole: Whether the student is trained to its last epoch in any case.
        """
        if whole:
            self._entered.add(key)
        else:
            self._prunable[key] = number

    def start_free(self, key: str) -> None:
        """Note that the trial of an assistant starts.

        Args:
            key: Key of the assistant's hop.
        """
        self._postponed.pop(key, None)
        self.needed.add(key)
        self._entered.add(key)

    def reopen(self, batch: int, key: str) -> None:
        """Forget a failed hop, which is trained again, once for all trials that it has failed.

        Args:
            batch: The batch of retries.
            key: Key of the hop.
        """
        if (batch, key) not in self._reopened:
            self._reopened.add((batch, key))
            self.needed.discard(key)
            self._entered.discard(key)

    def end_recall(self) -> None:
        """Make the postponed assistants pending, before those of the last proposal."""
        self.needed -= {*self._postponed}
        self._pending = [*self._postponed.values(), *self._pending]
        self._recalling, self._postponed = False, {}
