"""Forget what somebody has used of a limit."""

from typing import Any

from pawl.django import conf
from pawl.django.management.base import DEADLINE_MS, NO, PawlCommand
from pawl.django.management.keys import add_key_arguments, item_of


class Command(PawlCommand):
    help = ("Let somebody who is over a limit go on. Wants the role admin (a Unix socket has it). "
            "Exit code 0: forgotten; 1: nothing was counted for them; 3: no daemon answers.")

    def add_arguments(self, parser: Any) -> None:
        super().add_arguments(parser)
        add_key_arguments(parser)

    def run(self, **options: Any) -> int:
        item, key = item_of(options)
        client = conf.get_client()
        records = client.reset(item.key, item.rates, limit=item.limit, precision=item.precision,
                               deadline_ms=DEADLINE_MS)
        self.tell(options["json"], {"scope": options["scope"], "key": key, "records": records},
                  [f"{key}: {records} record{'s'[:records != 1]} forgotten"])
        return 0 if records else NO
