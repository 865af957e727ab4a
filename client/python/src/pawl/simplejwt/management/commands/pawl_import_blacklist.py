"""``manage.py pawl_import_blacklist``: what simplejwt's own blacklist knows, told to pawld.

Run it once when a project moves to pawl, after its log-outs go through pawl (so that none falls
between), and again whenever pawld's store was lost. Only tokens that have not expired are sent, in
the order of the table, many at a time. Sending one twice is harmless, so an import that was stopped
may simply be run again; ``--after`` skips what it said it had done.
"""

import asyncio
import sys
import time
from typing import Any, List, NamedTuple, Tuple

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from rest_framework_simplejwt.utils import datetime_to_epoch

from pawl import errors
from pawl.django import durable
from pawl.django.conf import get_async_client, settings

from ...bridge import BLACKLIST_APP

BAR_WIDTH = 30
#: A first revocation that is not answered ends the import; a deadline for people, not for requests.
DEADLINE_MS = 10_000


class Row(NamedTuple):
    key: int
    jti: str
    exp_s: int


class Progress:
    """A bar that rewrites its line; where stderr is no terminal, a line for each tenth."""

    def __init__(self, total: int, stream: Any) -> None:
        self._total = total
        self._stream = stream
        self._is_terminal = bool(getattr(stream, "isatty", lambda: False)())
        self._begun = time.monotonic()
        self._tenth = 0

    def show(self, done: int) -> None:
        share = done / self._total if self._total else 1.0
        rate = done / max(time.monotonic() - self._begun, 0.001)
        text = f"{done}/{self._total} {share:4.0%} {rate:.0f}/s"
        if self._is_terminal:
            full = int(BAR_WIDTH * share)
            self._stream.write(f"\r[{'#' * full}{'-' * (BAR_WIDTH - full)}] {text}  ")
            self._stream.flush()
        elif int(share * 10) > self._tenth:
            self._tenth = int(share * 10)
            self._stream.write(text + "\n")

    def end(self) -> None:
        if self._is_terminal:
            self._stream.write("\n")


class Command(BaseCommand):
    help = "Tell pawld the tokens that simplejwt's own blacklist refuses."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true",
                            help="only count what would be sent")
        parser.add_argument("--outstanding", action="store_true",
                            help="revoke every refresh token that simplejwt ever issued, not only "
                                 "those on the blacklist: everybody logs in again")
        parser.add_argument("--after", type=int, default=0, metavar="ID",
                            help="go on after this row, as a stopped import said")
        parser.add_argument("--batch", type=int, default=1000, metavar="N",
                            help="rows read at a time (default 1000)")
        parser.add_argument("--in-flight", type=int, default=64, metavar="N",
                            help="revocations on their way at a time (default 64, at most 256)")
        parser.add_argument("--database", default="default", help="the database with the tables")

    def handle(self, *args: Any, **options: Any) -> None:
        if not apps.is_installed(BLACKLIST_APP):
            raise CommandError(f"{BLACKLIST_APP} is not in INSTALLED_APPS: there is nothing to "
                               f"import")
        if options["batch"] < 1 or not 1 <= options["in_flight"] <= 256:
            raise CommandError("--batch has to be at least 1, --in-flight from 1 to 256")
        kind = "outstanding" if options["outstanding"] else "blacklisted"
        rows = self._rows(kind, options["database"])
        expired = self._all(kind, options["database"]).count() - rows.count()
        total = rows.filter(pk__gt=options["after"]).count()
        if options["dry_run"]:
            self.stdout.write(f"{total} {kind} tokens would be revoked, {expired} have expired")
            return
        done, unfit = self._send_all(rows, total, options)
        self.stdout.write(f"{done - len(unfit)} {kind} tokens revoked, {expired} had expired")
        if unfit:
            shown = ", ".join(map(str, unfit[:20])) + (" ..." if len(unfit) > 20 else "")
            raise CommandError(f"pawld takes no identifiers over 255 bytes: not revoked are the "
                               f"rows {shown}")

    @staticmethod
    def _all(kind: str, database: str) -> Any:
        name = "OutstandingToken" if kind == "outstanding" else "BlacklistedToken"
        return apps.get_model("token_blacklist", name)._default_manager.using(database)

    def _rows(self, kind: str, database: str) -> Any:
        expires = "expires_at" if kind == "outstanding" else "token__expires_at"
        jti = "jti" if kind == "outstanding" else "token__jti"
        live = self._all(kind, database).filter(**{f"{expires}__gt": timezone.now()})
        return live.order_by("pk").values_list("pk", jti, expires)

    def _send_all(self, rows: Any, total: int, options: Any) -> Tuple[int, List[int]]:
        progress = Progress(total, self.stderr._out if hasattr(self.stderr, "_out") else sys.stderr)
        loop = asyncio.new_event_loop()
        after, done = options["after"], 0
        unfit: List[int] = []
        try:
            while True:
                batch = [Row(key, jti, datetime_to_epoch(expires)) for key, jti, expires
                         in rows.filter(pk__gt=after)[:options["batch"]]]
                if not batch:
                    break
                sent, error = loop.run_until_complete(_send(batch, options["in_flight"], unfit))
                done += sent
                after = batch[sent - 1].key if sent else after
                progress.show(done)
                if error is not None:
                    raise CommandError(f"{done} of {total} revoked, then pawld said: {error}. "
                                       f"Go on with --after {after}") from error
        except KeyboardInterrupt:
            raise CommandError(f"stopped: {done} of {total} revoked. Go on with --after {after}",
                               returncode=130) from None
        finally:
            progress.end()
            loop.run_until_complete(get_async_client().close())
            loop.close()
        return done, unfit


async def _send(batch: List[Row], in_flight: int, unfit: List[int]) -> Tuple[int, Any]:
    """How many of @batch, from its beginning, pawld has acknowledged, and what stopped it. Rows
    that it will never take go to @unfit."""
    client = get_async_client()
    gate = asyncio.Semaphore(in_flight)
    stopped: List[BaseException] = []

    async def one(row: Row) -> bool:
        async with gate:
            if stopped:
                return False
            try:
                answer = await client.revoke(
                    "token", row.jti, issuer=settings.ISSUER, reason="logout", exp_s=row.exp_s,
                    actor="pawl_import_blacklist", deadline_ms=DEADLINE_MS)
                if durable.is_short(answer):
                    raise errors.Unavailable(f"acknowledged as {answer.acknowledged}, asked for "
                                             f"{answer.asked}", "unavailable", "done")
            except (errors.Refused, ValueError):
                unfit.append(row.key)
            except errors.PawlError as error:
                stopped.append(error)
                return False
            return True

    results = await asyncio.gather(*(one(row) for row in batch))
    sent = next((index for index, good in enumerate(results) if not good), len(results))
    return sent, stopped[0] if stopped else None
