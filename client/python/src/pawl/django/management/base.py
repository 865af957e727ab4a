"""What the commands share: ``--json``, errors in words, exit codes.

Exit codes are pawlctl's: 0 yes, 1 no, 2 usage, 3 undecided, unreachable, or less than was asked.
"""

import json
import sys
from typing import Any, Dict, Iterable, NoReturn

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from pawl import errors

NO, USAGE, UNDECIDED = 1, 2, 3
DEADLINE_MS = 5000  #: people wait longer than requests do


def give_up(text: str, code: int) -> NoReturn:
    """End the command with a message and an exit code."""
    raise CommandError(text, returncode=code)


def explain(error: errors.PawlError) -> str:
    """What a person can do about it."""
    hints = {
        "not_permitted": "this connection has not the role: see `listen` and credentials in "
                         "pawld's configuration",
        "frozen": "its store is frozen: see `pawlctl status` and `pawlctl thaw`",
    }
    hint = hints.get(error.cause)
    if hint is None and isinstance(error, errors.Unavailable):
        hint = "is pawld running, and PAWL['ADDR'] or PAWL_ADDR right? See `manage.py pawl_status`"
    text = f"{error} ({error.cause})" if error.cause else str(error)
    return f"{text}: {hint}" if hint else text


class PawlCommand(BaseCommand):
    """A command that asks pawld. Subclasses have :meth:`run`, which returns the exit code."""

    requires_system_checks: Any = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            code = self.run(**options)
        except (ImproperlyConfigured, RuntimeError) as error:  # settings, a missing extension
            give_up(str(error), USAGE)
        except errors.Unavailable as error:
            give_up(explain(error), UNDECIDED)
        except (errors.PawlError, ValueError) as error:
            text = explain(error) if isinstance(error, errors.PawlError) else str(error)
            give_up(text, USAGE)
        if code:
            sys.exit(code)

    def run(self, **options: Any) -> int:
        raise NotImplementedError

    def tell(self, as_json: bool, data: Any, lines: Iterable[str]) -> None:
        """Print @data, or @lines for people."""
        if as_json:
            self.stdout.write(json.dumps(data, default=str))
        else:
            for line in lines:
                self.stdout.write(line)

    def confirm(self, word: str, question: str, skip: bool) -> None:
        """Let a person type @word; without one, ``--yes`` is needed."""
        if skip:
            return
        if not sys.stdin.isatty():
            give_up(f"{question} Nobody is here to ask: add --yes.", USAGE)
        self.stderr.write(f"{question} Type {word!r} to go on:")
        if sys.stdin.readline().strip() != word:
            give_up("nothing was done", NO)


def table(rows: Iterable[Dict[str, Any]]) -> Iterable[str]:
    """Rows as aligned text, with their names above."""
    found = [{name: str(value) for name, value in row.items()} for row in rows]
    if not found:
        return
    names = list(found[0])
    widths = {name: max(len(name), *(len(row[name]) for row in found)) for name in names}
    for row in [dict(zip(names, names)), *found]:
        yield "  ".join(row[name].ljust(widths[name]) for name in names).rstrip()
