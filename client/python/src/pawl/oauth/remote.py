"""The resource server's side: introspection (RFC 7662), cached, and pawld for each request.

Introspection says whose token it is; the toolkit keeps that in its table, for ten hours unless
RESOURCE_SERVER_TOKEN_CACHING_SECONDS says less. pawld says at each request whether the token was
revoked since. For that the user's key and the application's id *at the authorization server* have
to be known here: they are kept in Django's cache beside the row, by a hash of the token, and asked
for again when the cache has lost them. :class:`pawl.oauth.views.IntrospectTokenView` tells them
(``sub``, ``client_id``, ``iat``, ``sid``); of another server's answer what there is.
"""

import datetime
import hashlib
import logging
import time
from typing import Any, Dict, Optional

import pawl
import requests  # type: ignore[import]  # stubs are a package of their own
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.utils import timezone
from oauth2_provider.models import get_access_token_model
from oauth2_provider.settings import oauth2_settings
from pawl.django.conf import settings
from pawl.django.verdicts import ServiceUnavailable

from . import rows, texts

_log = logging.getLogger("pawl")

TIMEOUT_S = 5.0  #: for the authorization server; the toolkit waits for ever
_KEPT = ("sub", "client_id", "iat", "sid", "username")


def _cache_key(text: str) -> str:
    return "pawl-oauth-" + hashlib.sha256(text.encode()).hexdigest()


def _text(value: Any) -> str:
    return str(value) if isinstance(value, (str, int)) else ""


class RemoteTokens:
    """Part of the validator: tokens of another authorization server."""

    def is_remote(self, row: Any) -> bool:
        """Whether the row is what introspection once said, not a token that was issued here."""
        return bool(oauth2_settings.RESOURCE_SERVER_INTROSPECTION_URL) and (
            row.application_id is None)

    def remote_token(self, text: str, row: Any) -> Optional[pawl.Token]:
        """What is asked about a token that was introspected; None: it is not active any more."""
        known = cache.get(_cache_key(text))
        if known is None:
            credentials = oauth2_settings.RESOURCE_SERVER_INTROSPECTION_CREDENTIALS
            if self._get_token_from_authentication_server(
                    text, oauth2_settings.RESOURCE_SERVER_INTROSPECTION_URL,
                    oauth2_settings.RESOURCE_SERVER_AUTH_TOKEN, credentials) is None:
                return None
            known = cache.get(_cache_key(text), {})
        iat = known.get("iat")
        return pawl.Token(
            issuer=settings.ISSUER, opaque=text.encode(),
            sid=_text(known.get("sid")) or texts.family_of(text),
            subject=_text(known.get("sub")), client=_text(known.get("client_id")),
            iat_s=iat if isinstance(iat, int) and iat > 0 else rows.timestamp(row.created))

    def _get_token_from_authentication_server(
            self, token: str, introspection_url: str, introspection_token: Optional[str],
            introspection_credentials: Any) -> Any:
        """Introspect, and keep the answer: a row as the toolkit writes it, and whose token it is.

        Differs from the toolkit's in that an authorization server that does not answer is 503,
        not "no such token", and that it is waited for no longer than TIMEOUT_S.
        """
        content = self._introspect(token, introspection_url, introspection_token,
                                   introspection_credentials)
        if content.get("active") is not True:
            return None
        left_s = float(oauth2_settings.RESOURCE_SERVER_TOKEN_CACHING_SECONDS)
        if isinstance(content.get("exp"), (int, float)):
            left_s = min(left_s, content["exp"] - time.time())
        if left_s <= 0:
            return None
        row = self._keep(token, content, timezone.now() + datetime.timedelta(seconds=left_s))
        if row is not None:
            kept = {name: content[name] for name in _KEPT if name in content}
            cache.set(_cache_key(token), kept, timeout=left_s)
        return row

    def _introspect(self, token: str, url: str, bearer: Optional[str],
                    credentials: Any) -> Dict[str, Any]:
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else None
        basic = None if bearer else tuple(credentials)
        try:
            response = requests.post(url, data={"token": token}, headers=headers, auth=basic,
                                     timeout=TIMEOUT_S)
            content = response.json() if response.status_code == 200 else None
        except (requests.exceptions.RequestException, ValueError) as error:
            _log.error("introspection at %s failed: %s", url, error)
            raise ServiceUnavailable() from error
        if not isinstance(content, dict):
            _log.error("introspection at %s answered %s", url, response.status_code)
            raise ServiceUnavailable()
        return content

    def _keep(self, token: str, content: Dict[str, Any], expires: datetime.datetime) -> Any:
        model = get_access_token_model()
        if not django_settings.USE_TZ and timezone.is_aware(expires):
            expires = timezone.make_naive(expires)
        values = {"user": self._user_of(content), "application": None,
                  "scope": content.get("scope", ""), "expires": expires}
        if rows.has_field(model, "resource"):  # 3.x, RFC 8707: a restriction, so closed if unclear
            audience = content.get("aud", [])
            audience = [audience] if isinstance(audience, str) else audience
            if not isinstance(audience, list) or not all(isinstance(one, str) for one in audience):
                return None
            values["resource"] = audience
        if not rows.has_field(model, "token_checksum"):
            return model.objects.update_or_create(token=token, defaults=values)[0]
        hashed = getattr(oauth2_settings, "COMPLIANT_BCP_RFC9700_TOKEN_STORAGE", False)
        checksum = hashlib.sha256(token.encode()).hexdigest()
        row = model.objects.filter(token_checksum=checksum).first()
        row = row or model(token_checksum=checksum)
        for name, value in {**values, "token": "" if hashed else token}.items():
            setattr(row, name, value)
        if hashed:
            row._raw_token = token  # what the toolkit computes the checksum from
        row.save()
        return row

    def _user_of(self, content: Dict[str, Any]) -> Any:
        if "username" not in content:
            return None
        if hasattr(self, "get_or_create_user_from_content"):  # 2.x and later
            return self.get_or_create_user_from_content(content)
        users = get_user_model()
        return users.objects.get_or_create(**{users.USERNAME_FIELD: content["username"]})[0]
