"""May you: roles, owners, members, grants, scopes. One class for each question; views combine
them with ``&`` and ``|``."""

from accounts.authentication import ClientUser
from rest_framework.permissions import SAFE_METHODS, BasePermission


class IsPerson(BasePermission):
    """Somebody with an account: logged in, or by a token that acts for them."""

    def has_permission(self, request, view):
        user = request.user
        return bool(user and user.is_authenticated and not isinstance(user, ClientUser))


class IsKnown(BasePermission):
    """A person, or a service with credentials of its own."""

    def has_permission(self, request, view):
        return bool(request.user and request.user.is_authenticated)


class IsService(BasePermission):
    """A service with credentials of its own: what it may do is in its scopes alone."""

    def has_permission(self, request, view):
        return isinstance(request.user, ClientUser)


class IsReading(BasePermission):
    """Strangers too: for what is public."""

    def has_permission(self, request, view):
        return request.method in SAFE_METHODS


class IsFirstParty(BasePermission):
    """The person themselves (JWT or session), and no application or script on their behalf."""

    message = "A token of an application or script does not do here."

    def has_permission(self, request, view):
        return granted_scopes(request.auth) is None


class IsStaff(BasePermission):
    message = "This is for staff."

    def has_permission(self, request, view):
        return bool(request.user.is_staff)


def has_role(*names):
    """Members of one of the groups, and staff."""

    class HasRole(BasePermission):
        message = "Your role does not cover this."

        def has_permission(self, request, view):
            user = request.user
            return user.is_authenticated and (
                user.is_staff or user.groups.filter(name__in=names).exists())

    return HasRole


class IsOwner(BasePermission):
    def has_object_permission(self, request, view, thing):
        return thing.owner_id == request.user.pk


class IsOwnerOrReadOnly(IsOwner):
    def has_object_permission(self, request, view, thing):
        return (request.method in SAFE_METHODS
                or super().has_object_permission(request, view, thing))


class IsAdminOrOwner(IsOwner):
    def has_object_permission(self, request, view, thing):
        return request.user.is_staff or super().has_object_permission(request, view, thing)


class IsOrganisationMember(BasePermission):
    """Of the organisation that the thing belongs to."""

    def has_object_permission(self, request, view, thing):
        return (thing.organisation_id is not None
                and thing.organisation.members.filter(pk=request.user.pk).exists())


class HasGrant(BasePermission):
    """A grant on this very object (django-guardian), by method."""

    verbs = {"GET": "view", "HEAD": "view", "OPTIONS": "view", "PUT": "change",
             "PATCH": "change", "POST": "change", "DELETE": "delete"}

    def has_object_permission(self, request, view, thing):
        meta = thing._meta
        verb = self.verbs.get(request.method)
        return verb is not None and request.user.has_perm(
            f"{meta.app_label}.{verb}_{meta.model_name}", thing)


def granted_scopes(auth):
    """The scopes of an OAuth2 or service token; None for what has none and needs none: a person's
    own JWT, a session."""
    scope = getattr(auth, "scope", None)
    return None if scope is None else set(scope.split())


class HasScopes(BasePermission):
    """The scope that the view names, for reading or for writing: ``scope_name = "products"`` wants
    products:read or products:write; views without want read or write."""

    message = "The token has not the scope for this."

    def has_permission(self, request, view):
        granted = granted_scopes(request.auth)
        if granted is None:
            return True
        kind = "read" if request.method in SAFE_METHODS else "write"
        name = getattr(view, "scope_name", "")
        return (f"{name}:{kind}" if name else kind) in granted
