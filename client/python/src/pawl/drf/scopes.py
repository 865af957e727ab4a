"""Which scopes a view has: a name, several, or whatever a function says; function views too."""

from typing import Any, Callable, List, TypeVar, Union

from .base import call

View = TypeVar("View", bound=Callable[..., Any])
Scopes = Union[str, List[str], Callable[..., Any]]


def throttle_scope(scope: Scopes) -> Callable[[View], View]:
    """Give a function view its scope, above or below ``@api_view``, on any version of REST
    Framework (its own decorator of that name came with 3.18)::

        @api_view(["POST"])
        @throttle_scope("uploads")
        def upload(request): ...

    @scope  a name, a list of names (all of them hold), or a function (request, view) that returns
    one of these or None.
    """
    def decorate(view: View) -> View:
        made: Any = getattr(view, "cls", None) or view  # above @api_view there is a class
        made.throttle_scope = _Function(scope) if callable(scope) else scope
        return view
    return decorate


class _Function:
    """A function that does not become a method of the class it is put into."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, request: Any, view: Any) -> Any:
        return self._function(request, view)


def _of_function(view: Any, name: str) -> Any:
    """The scope of the function under a view that ``@api_view`` has made: before 3.18 it copies
    other attributes only, and the function is found where the handlers have it."""
    for method in getattr(view, "http_method_names", ()):
        handler = getattr(type(view), method, None)
        for cell in getattr(handler, "__closure__", None) or ():
            try:
                found = getattr(cell.cell_contents, name, None)
            except ValueError:  # an empty cell
                continue
            if found is not None and callable(cell.cell_contents):
                return found
    return None


def scopes_of(view: Any, name: str, request: Any) -> List[str]:
    """The scopes of @view for @request; none: it is not limited."""
    scope = getattr(view, name, None)
    if scope is None:
        scope = _of_function(view, name)
    if callable(scope):
        owner = getattr(scope, "__self__", None)
        named = getattr(scope, "__func__", scope)
        code = getattr(named, "__code__", None)
        if owner is view and code is not None and code.co_argcount == 2 and (
                code.co_varnames[0] != "request"):
            scope = scope(request)  # a method of the view: (self, request)
        else:  # a function (request, view), in the class of the view or not
            scope = call(scope, request, view)
    if not scope:
        return []
    return [scope] if isinstance(scope, str) else [str(one) for one in scope]
