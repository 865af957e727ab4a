"""Which OAuth2 grants there are at all, whatever an application was registered for (RFC 9700)."""

from pawl.oauth import PawlOAuth2Validator

GRANTS = ("authorization_code", "client_credentials", "refresh_token")


class OAuthValidator(PawlOAuth2Validator):
    """No implicit grant, no passwords for applications, PKCE by S256 alone."""

    def validate_response_type(self, client_id, response_type, client, request, *args, **kwargs):
        # Without a challenge PKCE_REQUIRED refuses, with the error that says so.
        hashed = request.code_challenge is None or request.code_challenge_method == "S256"
        return response_type == "code" and hashed and super().validate_response_type(
            client_id, response_type, client, request, *args, **kwargs)

    def validate_grant_type(self, client_id, grant_type, client, request, *args, **kwargs):
        return grant_type in GRANTS and super().validate_grant_type(
            client_id, grant_type, client, request, *args, **kwargs)
