"""What of a run is a shard's: its items, its journal's key, and the record at its end.

Without a shard a part is the whole run, so that steps need not ask.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from classification.artifacts import shard_record
from classification.runtime import cli

if TYPE_CHECKING:
    from pathlib import Path

    from classification.runtime.shards import Shard

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a run.

    Attributes:
        shard: which; None for the whole run.
        step: name of the command.
        run: digest of the whole run's inputs and options.
        output: the file that this part is written to.
        span: positions of its items.
        total: number of items of the whole run.
    """

    shard: Shard | None
    step: str
    run: str
    output: Path
    span: range
    total: int

    @property
    def key(self) -> str:
        """Returns the digest of what it does, for its journal."""
        if self.shard is None:
            return self.run
        return f"{self.run} shard={self.shard}"

    def is_done(self) -> bool:
        """Says whether a shard was completed before, in this run's way."""
        return self._find() is not None

    def skip(self, *, restart: bool, max_failures: int | None) -> bool:
        """Says whether nothing is to be done, and says it to the user, too.

        Args:
            restart: do it again in any case.
            max_failures: most items that may have failed.

        Raises:
            TooManyFailuresError: it is done, but more failed; as when it was done.
        """
        record = None if restart else self._find()
        if record is None:
            return False
        _logger.info(
            "%s is complete; nothing done (--restart does it again)", self.output
        )
        cli.check_failures(record.failed, record.items, max_failures)
        return True

    def _find(self) -> shard_record.Record | None:
        if self.shard is None:
            return None
        record = shard_record.find_of_run(self.output, self.run)
        place = (self.shard.number, self.shard.of)
        return record if record and (record.shard, record.of) == place else None

    def complete(self, failed: int) -> None:
        """Says beside a shard's file that it is complete.

        Args:
            failed: how many of its items failed.
        """
        if self.shard is not None:
            shard_record.tell(
                self.output,
                self.shard,
                step=self.step,
                run=self.run,
                span=self.span,
                total=self.total,
                failed=failed,
            )
