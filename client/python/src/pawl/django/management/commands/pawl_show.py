"""How much of a limit somebody has used."""

from typing import Any

import pawl
from pawl._types import Rate
from pawl.django import conf
from pawl.django.management.base import (DEADLINE_MS, NO, UNDECIDED, PawlCommand, give_up, table)
from pawl.django.management.keys import add_key_arguments, item_of


class Command(PawlCommand):
    help = ("What is counted for somebody in a scope; counts nothing itself. Exit code 0: a call "
            "would go through; 1: it would be refused; 3: no daemon answers.")

    def add_arguments(self, parser: Any) -> None:
        super().add_arguments(parser)
        add_key_arguments(parser)

    def run(self, **options: Any) -> int:
        item, key = item_of(options)
        answer = conf.get_client().check_many([item], peek=True, deadline_ms=DEADLINE_MS)
        if answer.info.source != "daemon":
            give_up(f"pawld does not answer ({answer.info.cause} {answer.info.text})".strip(),
                    UNDECIDED)
        rows = [{"rate": pawl.format_rate(Rate(row.limit, row.window_ms)), "count": row.count,
                 "remaining": row.remaining, "oldest_age_s": row.oldest_age_ms / 1000,
                 "empty_in_s": row.reset_after_ms / 1000,
                 "retry_after_s": row.retry_after_ms / 1000, "allowed": row.allowed}
                for row in answer.rates]
        self.tell(options["json"], {"scope": options["scope"], "key": key,
                                    "verdict": answer.outcome, "rates": rows},
                  [f"{key}: {answer.outcome}", *table(rows)])
        return 0 if answer.allowed else NO
