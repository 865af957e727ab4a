"""pawl: may this caller go on, at this pace? Is this token still good?

A client of pawld. :class:`Client` blocks, for threads, gevent and prefork servers;
:class:`AsyncClient` is for asyncio. Django: see :mod:`pawl.django`, :mod:`pawl.drf`,
:mod:`pawl.simplejwt`, :mod:`pawl.oauth`.
"""

from . import errors
from ._calls import item
from ._rates import format_rate, parse_rates
from ._types import (CheckAnswer, Claims, FactName, FamilyOpenAnswer, Info, Item, LimitInfo, Rate,
                     RateAnswer, ReserveAnswer, RevokeAnswer, RotateAnswer, Token, TokenAnswer,
                     TokenCheckAnswer, UnrevokeAnswer)
from .aio import AsyncClient
from .client import Client

__all__ = [
    "AsyncClient", "CheckAnswer", "Claims", "Client", "FactName", "FamilyOpenAnswer", "Info",
    "Item", "LimitInfo", "Rate", "RateAnswer", "ReserveAnswer", "RevokeAnswer", "RotateAnswer",
    "Token", "TokenAnswer", "TokenCheckAnswer", "UnrevokeAnswer", "errors", "format_rate", "item",
    "parse_rates",
]
