"""Throttles for Django REST Framework, counted by pawld: exact, however many workers there are.

Change the dotted paths, and nothing else::

    REST_FRAMEWORK = {
        "DEFAULT_THROTTLE_CLASSES": ["pawl.drf.AnonRateThrottle", "pawl.drf.UserRateThrottle"],
        "DEFAULT_THROTTLE_RATES": {"anon": "100/hour", "user": "1000/hour"},
    }

All throttles of a view travel in one request (:mod:`pawl.drf.rounds`). Settings are in ``PAWL``,
see :mod:`pawl.django.conf`.
"""

from .aio import (AsyncAnonRateThrottle, AsyncConcurrencyThrottle, AsyncFailedLoginThrottle,
                  AsyncScopedRateThrottle, AsyncSimpleRateThrottle, AsyncTokenBucketThrottle,
                  AsyncUserRateThrottle)
from .base import SimpleRateThrottle
from .extras import (ConcurrencyThrottle, FailedLoginThrottle, TokenBucketThrottle,
                     failed_login_limit)
from .scopes import throttle_scope
from .stock import AnonRateThrottle, ScopedRateThrottle, UserRateThrottle

__all__ = [
    "AnonRateThrottle", "AsyncAnonRateThrottle", "AsyncConcurrencyThrottle",
    "AsyncFailedLoginThrottle", "AsyncScopedRateThrottle", "AsyncSimpleRateThrottle",
    "AsyncTokenBucketThrottle", "AsyncUserRateThrottle", "ConcurrencyThrottle",
    "FailedLoginThrottle", "ScopedRateThrottle", "SimpleRateThrottle", "TokenBucketThrottle",
    "UserRateThrottle", "failed_login_limit", "throttle_scope",
]
