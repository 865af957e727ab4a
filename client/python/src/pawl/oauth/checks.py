"""System checks of ``pawl.oauth``.

==============  ===================================================================================
id              what
==============  ===================================================================================
pawl_oauth.W001 OAUTH2_VALIDATOR_CLASS is not ours: tokens are not asked about
pawl_oauth.W002 REFRESH_TOKEN_GRACE_PERIOD_SECONDS is set: the daemon's rotation.leeway decides
pawl_oauth.W003 ACCESS_TOKEN_GENERATOR is set: access tokens do not name their family
==============  ===================================================================================
"""

from typing import Any, List

from django.core.checks import CheckMessage, Warning, register
from oauth2_provider.settings import oauth2_settings


def check_oauth(app_configs: Any = None, **_: Any) -> List[CheckMessage]:
    from .validators import PawlOAuth2Validator

    found: List[CheckMessage] = []
    validator = oauth2_settings.OAUTH2_VALIDATOR_CLASS
    if not issubclass(validator, PawlOAuth2Validator):
        found.append(Warning(
            "OAUTH2_PROVIDER['OAUTH2_VALIDATOR_CLASS'] is not pawl.oauth.PawlOAuth2Validator: "
            "OAuth tokens are neither rotated nor checked by pawld.",
            hint="Set it to 'pawl.oauth.PawlOAuth2Validator', or to a subclass of that.",
            id="pawl_oauth.W001"))
        return found
    if oauth2_settings.REFRESH_TOKEN_GRACE_PERIOD_SECONDS:
        found.append(Warning(
            "OAUTH2_PROVIDER['REFRESH_TOKEN_GRACE_PERIOD_SECONDS'] is without effect.",
            hint="The grace is rotation.leeway in pawld.yaml, 10 s unless set.",
            id="pawl_oauth.W002"))
    if oauth2_settings.ACCESS_TOKEN_GENERATOR and (
            validator.describe is PawlOAuth2Validator.describe):
        found.append(Warning(
            "OAUTH2_PROVIDER['ACCESS_TOKEN_GENERATOR'] makes access tokens that do not name their "
            "family: they outlive a log-out until they expire.",
            hint="Put request.pawl_place.sid into the token, and return it from describe() in a "
            "subclass of the validator.", id="pawl_oauth.W003"))
    return found


def connect() -> None:
    """The app calls it; twice is once."""
    register(check_oauth, "pawl")
