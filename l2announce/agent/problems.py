"""Log lines about what is wrong with objects: each problem once, as long as it lasts."""

import logging
from collections.abc import Collection

from l2announce.model.objects import ObjectProblem

_log = logging.getLogger(__name__)


class ProblemLog:
    """Remembers what was told."""

    def __init__(self) -> None:
        self._told: frozenset[ObjectProblem] = frozenset()

    def tell(self, problems: Collection[ObjectProblem]) -> None:
        """These are all problems that there are now: log those that were not among the last ones."""
        for problem in problems:
            if problem not in self._told:
                _log.warning(problem.message, extra={"fields": {"object": problem.subject, "reason": problem.reason}})
        self._told = frozenset(problems)
