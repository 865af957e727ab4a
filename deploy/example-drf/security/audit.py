"""What looks like an attack, in the security log beside pawl's own events."""

import logging

from pawl.django import events


def suspicious(request, what, **fields):
    """Log input that nobody sends by mistake. @what: a word; of the input itself nothing."""
    events.emit("suspicious_input", logging.WARNING, request, (what,), what=what, **fields)
