"""pyflakes over the named files; a line that ends in ``# noqa: reason`` is let be.

An import for what it does, or a fixture that a test names, looks unused to it.
"""

import linecache
import re
import sys

from pyflakes import api, reporter


class Reporter(reporter.Reporter):
    def __init__(self):
        super().__init__(sys.stdout, sys.stdout)
        self.count = 0

    def unexpectedError(self, filename, text):
        self.count += 1
        super().unexpectedError(filename, text)

    def syntaxError(self, *arguments):
        self.count += 1
        super().syntaxError(*arguments)

    def flake(self, message):
        line = linecache.getline(message.filename, message.lineno)
        if not re.search(r"# noqa: \S", line):
            self.count += 1
            super().flake(message)


def main():
    told = Reporter()
    for name in sys.argv[1:]:
        api.checkPath(name, told)
    return 1 if told.count else 0


if __name__ == "__main__":
    sys.exit(main())
