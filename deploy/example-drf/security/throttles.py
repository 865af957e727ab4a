"""Who is counted, and how fast they may go. The rates are in settings.py."""

from pawl.django.logins import user_name
from pawl.drf import SimpleRateThrottle, UserRateThrottle


class BurstThrottle(UserRateThrottle):
    scope = "burst"


class SustainedThrottle(UserRateThrottle):
    scope = "sustained"


class DefaultThrottle(UserRateThrottle):
    """Those without a plan."""

    scope = "default"

    def get_cache_key(self, request, view):
        return None if is_premium(request.user) else super().get_cache_key(request, view)


class PremiumThrottle(UserRateThrottle):
    """Those with one; everybody else falls through to DefaultThrottle."""

    scope = "premium"

    def get_cache_key(self, request, view):
        return super().get_cache_key(request, view) if is_premium(request.user) else None


def is_premium(user):
    return bool(user and user.is_authenticated and getattr(user, "is_premium", False))


def field(request, name):
    """A field of the body, as text; "" where there is none, or no object."""
    data = request.data
    return str(data.get(name) or "") if hasattr(data, "get") else ""


class LoginNameThrottle(SimpleRateThrottle):
    """Tries for one user name, from wherever they come. "Anna " and "anna" are one."""

    scope = "login_name"

    def get_cache_key(self, request, view):
        name = user_name(field(request, "username"))
        return self.cache_format % {"scope": self.scope, "ident": name} if name else None


class AddressThrottle(SimpleRateThrottle):
    """Whatever comes from one address."""

    def get_cache_key(self, request, view):
        return self.cache_format % {"scope": self.scope, "ident": self.get_ident(request)}


class LoginAddressThrottle(AddressThrottle):
    """Tries from one address, for whatever names."""

    scope = "login_address"


class SignupThrottle(AddressThrottle):
    scope = "signup"


class PasswordResetThrottle(AddressThrottle):
    scope = "password_reset"


class PasswordResetConfirmThrottle(AddressThrottle):
    scope = "password_reset_confirm"


class RefreshThrottle(AddressThrottle):
    """Refreshes and log-outs, where nobody is known yet."""

    scope = "refresh"


class TotpThrottle(UserRateThrottle):
    """Tries of a second factor: six digits want few."""

    scope = "totp"


class PasswordChangeThrottle(UserRateThrottle):
    scope = "password_change"
