"""How long a segment is locked, by policy."""

from __future__ import annotations

from dateutil.relativedelta import relativedelta

from domain.clock import Instant

MINIMUM_MONTHS = 6
"""At least six months: Wucheng W-AV 第二十八条, Chongqing 第二十二条. Ours where a document is silent or longer in
words that give no figure; a longer class only lengthens the lock later."""


def retain_until(completed: Instant) -> Instant:
    """Return until when footage completed at this moment must at least be locked (calendar months, China time)."""
    return Instant.of(completed.datetime() + relativedelta(months=MINIMUM_MONTHS))
