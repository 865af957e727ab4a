"""What stands in for the list of times that REST Framework's throttles keep."""

from typing import Any, Callable, Sequence, Tuple, Union, overload


class History(Sequence[float]):
    """As long as the count, with the oldest time at the end and now in front, as REST Framework
    has it. Times between are not known here: the daemon has them, they read as the oldest. Pickled
    it is a list, for those who write it to the cache as the framework does."""

    def __init__(self, count: int, now: float, oldest_age_s: float,
                 on_insert: Callable[[], None]) -> None:
        self._count = count
        self._now = now
        self._oldest = now - oldest_age_s
        self._on_insert = on_insert

    def insert(self, index: int, value: float) -> None:
        """Tell the throttle, which charges the call if it was not yet."""
        self._on_insert()
        self._count += 1

    def __reduce__(self) -> Tuple[Any, ...]:
        return (list, (list(self),))

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> float: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[float]: ...

    def __getitem__(self, index: Union[int, slice]) -> Any:
        places = range(self._count)
        if isinstance(index, slice):
            return [self[place] for place in places[index]]
        place = places[index]  # IndexError as a list's
        return self._now if place == 0 and self._count > 1 else self._oldest

    def __repr__(self) -> str:
        return f"<{self._count} since {self._oldest}>"
