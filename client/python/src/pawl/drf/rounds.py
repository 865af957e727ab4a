"""All throttles of a view in one request to pawld.

REST Framework asks the throttles of a view one after the other. The first of ours that is asked
collects those that come after it (``view.get_throttles()`` gives instances like those which will be
asked), sends one request for all, and keeps the others' answers until it is their turn.

Only a throttle that certainly asks is planned ahead: one whose ``allow_request`` and
``throttle_success`` are ours (a custom one may decide not to ask, or to count something else), in a
view whose ``check_throttles`` is the framework's (a custom one may stop at the first refusal). What
a sibling raises while it is planned is for its own turn. An answer is used once, and only by a
throttle that asks for exactly what was planned.
"""

from typing import Any, Callable, List, NamedTuple, Optional, Sequence, Tuple

from rest_framework.exceptions import APIException

from ..django.throttling import Ask, Outcome

#: Modules whose check_throttles asks every throttle, in order.
_KNOWN_LOOPS = ("rest_framework.", "adrf.", "pawl.")


def _is_stock(view: Any) -> bool:
    # Not above: rest_framework.views imports DEFAULT_THROTTLE_CLASSES, and with them this module.
    from rest_framework.views import APIView

    return getattr(type(view), "get_throttles", None) == APIView.get_throttles


class _Place:
    """One throttle of the view, in order."""

    def __init__(self, throttle: Any) -> None:
        self.throttle: Optional[Any] = throttle  # to plan with; None once that was tried
        self.kind = type(throttle)
        self.asks: Tuple[Ask, ...] = ()
        self.outcomes: Optional[Tuple[Outcome, ...]] = None
        self.error: Optional[APIException] = None  # of planning: raised in its own turn


class Round:
    """One run through the throttles of a view."""

    def __init__(self, view: Any, coroutines: bool) -> None:
        self.view = view
        self.places = [_Place(throttle) for throttle in _throttles(view)
                       if bool(getattr(throttle, "_pawl_async", False)) == coroutines]
        self.position = -1
        self.current: Any = None

    def move(self, throttle: Any) -> bool:
        """Go on to the place of @throttle. False: it comes no more, or never did."""
        for index in range(self.position + 1, len(self.places)):
            if self.places[index].kind is type(throttle):
                self.position, self.current = index, throttle
                return True
        return False

    def inherit(self, old: "Round") -> None:
        """Take over what was charged ahead in an earlier round and asked for by nobody since."""
        left = [place for place in old.places if place.outcomes is not None]
        for place in self.places[self.position + 1:]:
            for index, other in enumerate(left):
                if other.kind is place.kind:
                    place.throttle = None
                    place.asks, place.outcomes = other.asks, other.outcomes
                    del left[index]
                    break


class Turn(NamedTuple):
    """What a throttle has to do: ask for :attr:`asks`, if there are any, and hand the outcomes to
    :attr:`accept`, which returns its own."""

    asks: Tuple[Ask, ...]
    accept: Callable[[Sequence[Outcome]], Tuple[Outcome, ...]]


def _throttles(view: Any) -> List[Any]:
    """The throttles that the framework will ask; none where that cannot be known."""
    get_throttles = getattr(view, "get_throttles", None)
    loop = getattr(type(view), "check_throttles", None)
    if get_throttles is None or not getattr(loop, "__module__", "").startswith(_KNOWN_LOOPS):
        return []
    try:
        return list(get_throttles())
    except Exception:  # the framework's own call has worked: theirs to raise
        return []


def _current(throttle: Any, request: Any, view: Any) -> Optional[Round]:
    """The round that @throttle is asked in, moved on to it. None: it asks for itself alone."""
    if _is_stock(view) and len(view.throttle_classes) == 1:
        return None  # it has no siblings
    name = "_pawl_round_async" if throttle._pawl_async else "_pawl_round"
    known = getattr(request, "__dict__", {}).get(name)
    if isinstance(known, Round) and known.view is view:
        if known.current is throttle:  # asked again by its own allow_request
            return known
        if known.move(throttle):
            return known
    fresh = Round(view, throttle._pawl_async)
    if not fresh.move(throttle):  # not one of the view's
        return None
    if isinstance(known, Round) and known.view is view:
        fresh.inherit(known)
    try:
        setattr(request, name, fresh)
    except AttributeError:
        return None
    return fresh


def begin(throttle: Any, request: Any, view: Any, alone: bool = False) -> Turn:
    """The turn of @throttle. What its own ``asks`` raises goes through.

    @alone  plan nobody ahead.
    """
    current = _current(throttle, request, view)
    place = current.places[current.position] if current is not None else None
    if place is not None:
        place.throttle = None
        error, place.error = place.error, None
        if error is not None:
            raise error
    asks = tuple(throttle.pawl_asks(request, view))
    planned: List[_Place] = []
    if current is not None and place is not None:
        outcomes, place.outcomes = place.outcomes, None
        if outcomes is not None and place.asks == asks:
            ready = outcomes
            return Turn((), lambda _: ready)
        planned = [] if alone else _plan(current, request, view)
    everything = asks + tuple(ask for sibling in planned for ask in sibling.asks)

    def accept(outcomes: Sequence[Outcome]) -> Tuple[Outcome, ...]:
        start = len(asks)
        for sibling in planned:
            sibling.outcomes = tuple(outcomes[start:start + len(sibling.asks)])
            start += len(sibling.asks)
        return tuple(outcomes[:len(asks)])

    return Turn(everything, accept)


def _plan(current: Round, request: Any, view: Any) -> List[_Place]:
    """The places behind the current one that can be asked for now, and were not yet."""
    planned = []
    for place in current.places[current.position + 1:]:
        throttle, place.throttle = place.throttle, None
        if throttle is None or not getattr(throttle, "_pawl_plans_ahead", lambda: False)():
            continue
        try:
            place.asks = tuple(throttle.pawl_asks(request, view))
        except APIException as error:
            # A body that cannot be read is told once: asked again, the framework says it is empty.
            # What is raised ends the round: those behind are not asked, and not to be charged.
            place.error = error
            break
        except Exception:  # it will raise again, or not: an earlier throttle may change things
            break
        planned.append(place)
    return planned
