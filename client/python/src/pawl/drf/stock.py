"""The other three of REST Framework's throttles."""

from typing import Any, List, Optional

from rest_framework import throttling

from ..django.throttling import Ask
from .base import SimpleRateThrottle
from .scopes import scopes_of


class AnonRateThrottle(SimpleRateThrottle, throttling.AnonRateThrottle):
    """Drop-in for the framework's: anonymous callers by address."""


class UserRateThrottle(SimpleRateThrottle, throttling.UserRateThrottle):
    """Drop-in for the framework's: users by primary key, anonymous callers by address."""


class ScopedRateThrottle(SimpleRateThrottle, throttling.ScopedRateThrottle):
    """Drop-in for the framework's: views by their ``throttle_scope``, which may also be a list (all
    of them hold) or a function (request, view); function views by ``@throttle_scope``."""

    rate: Optional[str] = None

    def pawl_asks(self, request: Any, view: Any) -> List[Ask]:
        found: List[Ask] = []
        for scope in scopes_of(view, self.scope_attr, request):
            self.scope = scope
            # As the framework's __init__ would: the scope is known only now.
            self.rate = self.get_rate()
            self.num_requests, self.duration = self.parse_rate(self.rate)
            if self.rate is not None or self._pawl_limit:
                found.extend(self._pawl_asks_for(request, view))
        return found
