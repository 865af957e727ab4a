"""``OAUTH2_VALIDATOR_CLASS``: the toolkit's validator, with pawld as the judge of tokens.

The toolkit keeps what it has: applications, grants, scopes, rows. pawld decides what has to be the
same on every server at once: whether a token is still good, and which one of several refreshes
wins. Where oauthlib looks at what a hook raises, an error is an OAuth error (:mod:`.errors`); in
front of a view it is REST Framework's 503, which :mod:`.middleware` writes for other views too.
"""

import time
from collections import OrderedDict
from datetime import timedelta
from typing import Any, Dict, List, Optional, Union

import pawl
from django.db import IntegrityError, router, transaction
from django.utils import timezone
from jwcrypto.common import JWException
from oauth2_provider.exceptions import FatalClientError
from oauth2_provider.models import get_access_token_model, get_refresh_token_model
from oauth2_provider.oauth2_validators import OAuth2Validator
from oauth2_provider.settings import oauth2_settings
from pawl.django import events
from pawl.django.conf import get_client, settings
from pawl.django.verdicts import ServiceUnavailable, TokenRefused, require_good

from . import families, revoking, rows, texts
from .errors import InvalidGrant, Unavailable
from .families import Presented
from .remote import RemoteTokens
from .texts import Pair, Place

#: What comes of a text that only looks like an id_token: the toolkit reads one before it verifies
#: it, and lets through what that raises.
_NO_JWT = (JWException, ValueError, KeyError, TypeError, AttributeError, RecursionError)


class PawlOAuth2Validator(RemoteTokens, OAuth2Validator):  # type: ignore[misc]  # no hints there
    """See the module. Subclass it as you would the toolkit's; both kinds of hook remain."""

    # ---- the token endpoint: a family begins ----------------------------------------------------
    #
    # In the last hook of each grant's validation, where oauthlib still makes an answer of an error,
    # and before it makes the tokens (an id_token holds the hash of its access token).

    def confirm_redirect_uri(self, client_id: str, code: str, redirect_uri: str, client: Any,
                             request: Any, *args: Any, **kwargs: Any) -> bool:
        good = super().confirm_redirect_uri(client_id, code, redirect_uri, client, request, *args,
                                            **kwargs)
        if good:
            self._begin(request)
        return bool(good)

    def validate_scopes(self, client_id: str, scopes: List[str], client: Any, request: Any,
                        *args: Any, **kwargs: Any) -> bool:
        good = super().validate_scopes(client_id, scopes, client, request, *args, **kwargs)
        if good and request.grant_type == "password":
            self._begin(request)
        return bool(good)

    def _begin(self, request: Any) -> None:
        if getattr(request, "pawl_place", None) is None:
            place = families.open_family(families.subject_of(request.user),
                                         str(request.client.client_id))
            if place is not None:
                self._settle(request, place)

    def _settle(self, request: Any, place: Place) -> None:
        """From here on @request gets the tokens of @place: oauthlib puts these "extra credentials"
        over those that it makes."""
        request.pawl_place = place
        self._extra(request, texts.pairs(place)[0]._asdict())

    @staticmethod
    def _extra(request: Any, pair: Dict[str, str]) -> None:
        extra = {"refresh_token": pair["refresh"]} if "refresh" in pair else {}
        if not oauth2_settings.ACCESS_TOKEN_GENERATOR:  # else it is the project's own kind
            extra["access_token"] = pair["access"]
        request.extra_credentials = {**(request.extra_credentials or {}), **extra}

    # ---- the token endpoint: a family goes on ---------------------------------------------------

    def validate_refresh_token(self, refresh_token: str, client: Any, request: Any, *args: Any,
                               **kwargs: Any) -> bool:
        """Whether the token is known and this client's. Whether it may be exchanged is asked last,
        in :meth:`get_original_scopes`: a refresh that fails for its scopes uses nothing up."""
        place = texts.read_refresh(refresh_token)
        if place is None and refresh_token.startswith(texts.REFRESH):
            return False
        row = rows.find_refresh(refresh_token)
        if row is None and place is None:
            return False
        presented = self._presented(refresh_token, place, row, client)
        if row is not None and row.application_id != client.pk:
            events.token_refused(None, "refresh", "invalid", reason="of another client",
                                 sid=place.sid if place else "")
            return False
        rotating = self.rotate_refresh_token(request)
        if row is None or rows.is_dead(row):
            return self._refuse_dead(presented, row, request)
        if not rotating and (row.revoked is not None or not families.is_good(presented)):
            return False
        request.user = row.user
        request.refresh_token = refresh_token
        request.refresh_token_instance = row
        request.pawl_presented = presented
        return True

    @staticmethod
    def _presented(text: str, place: Optional[Place], row: Any, client: Any) -> Presented:
        if row is None:
            return Presented(text, place, "", str(client.client_id))
        iat_s = rows.timestamp(row.created) if place is None else 0
        return Presented(text, place, families.subject_of(row.user), str(client.client_id), iat_s,
                         iat_s + families.lifetime_s() if iat_s else 0)

    def _refuse_dead(self, presented: Presented, row: Any, request: Any) -> bool:
        """Its row is revoked, or cleaned up: a fact, whatever pawld says. It hears of the token all
        the same: an old generation that comes back is theft, and its family dies, whether a
        clean-up has run or not. Where pawld thought the token good, somebody revoked it behind its
        back: that is made good."""
        if not self.rotate_refresh_token(request):
            return False
        answer = families.ask_rotation(presented)
        families.note(presented, answer)
        if answer.result in ("rotated", "grace", "adopted") and row is not None:
            revoking.end(answer.sid or (presented.place.sid if presented.place else ""))
        return False

    def get_original_scopes(self, refresh_token: str, request: Any, *args: Any,
                            **kwargs: Any) -> Any:
        """The last hook before tokens are made: here the refresh is decided."""
        row = request.refresh_token_instance
        access = row.access_token if row.access_token_id else rows.next_access(row)
        if access is None:  # revoked since it was validated
            raise InvalidGrant(request=request)
        scopes = access.scope
        if request.scope and not self._may_have(request.scope.split(), scopes.split(), request):
            return scopes  # oauthlib answers invalid_scope
        if hasattr(self, "_check_and_set_request_resource"):  # 3.x: may refuse, too
            self._check_and_set_request_resource(request)
        presented = request.pawl_presented
        if self.rotate_refresh_token(request):
            self._settle(request, families.successor(presented, families.ask_rotation(presented)))
        elif presented.place is not None:
            self._extra(request, {"access": texts.fresh_access_text(presented.place.sid)})
        return scopes

    def _may_have(self, wanted: List[str], original: List[str], request: Any) -> bool:
        return set(wanted) <= set(original) or bool(self.is_within_original_scope(
            wanted, request.refresh_token, request))

    # ---- the token endpoint: rows ---------------------------------------------------------------

    def save_bearer_token(self, token: Dict[str, Any], request: Any, *args: Any,
                          **kwargs: Any) -> Any:
        """Save the pair. Several requests may save one refresh at once (a winner and those in its
        grace): the first writes the rows, the others hand out what it wrote."""
        refreshing = getattr(request, "refresh_token_instance", None) is not None
        if token.get("refresh_token") and not refreshing:
            self._begin(request)  # a grant without a hook of its own: device code, a project's
        place = getattr(request, "pawl_place", None)
        if place is not None:
            token.update({name: text for name, text in (request.extra_credentials or {}).items()
                          if name in ("access_token", "refresh_token") and name in token})
        if place is None or not refreshing:
            result = super().save_bearer_token(token, request, *args, **kwargs)
            if place is not None and "refresh_token" in token:
                for refresh in rows.by_text(get_refresh_token_model(), token["refresh_token"]):
                    rows.set_family(refresh, place)
            return result
        if "scope" not in token:
            raise FatalClientError("Failed to renew access token: missing scope")
        try:
            with transaction.atomic(using=router.db_for_write(get_access_token_model())):
                return self._save_refresh(token, request, place)
        except IntegrityError:
            # Under REPEATABLE READ with ATOMIC_REQUESTS what the winner wrote cannot be seen here:
            # the next try, within the grace, will.
            raise Unavailable(wait_s=1) from None

    def _save_refresh(self, token: Dict[str, Any], request: Any, place: Place) -> None:
        row = request.refresh_token_instance
        expires = timezone.now() + timedelta(
            seconds=token.get("expires_in", oauth2_settings.ACCESS_TOKEN_EXPIRE_SECONDS))
        rows.supersede(row)
        saved = rows.saved_pair(row, texts.pairs(place))
        if saved is not None:
            self._hand_out(token, request, expires, *saved)
            return
        if rows.next_access(row) is not None:
            # Saved by a process under keys that we have not: it hands the pair out, we cannot.
            raise Unavailable()
        rows.drop_access(row)
        access = self._create_access_token(expires, request, token, source_refresh_token=row)
        previous = [row] if rows.has_field(type(row), "token_family") else []
        refresh = self._create_refresh_token(request, token["refresh_token"], access, *previous)
        rows.set_family(refresh, place)

    def _hand_out(self, token: Dict[str, Any], request: Any, expires: Any, pair: Pair,
                  access: Any) -> None:
        """The pair of a refresh that was saved before, as its rows say."""
        token["refresh_token"] = pair.refresh
        if not oauth2_settings.ACCESS_TOKEN_GENERATOR:
            token["access_token"] = pair.access
        elif access is not None and access.token:
            token["access_token"] = access.token
        elif access is not None:  # stored hashed, and of a kind that cannot be made again
            self._create_access_token(expires, request, token)
            return
        if access is not None:  # else revoked in between: pawld refuses it, and so do we
            token["scope"] = access.scope
            token["expires_in"] = max(0, rows.timestamp(access.expires) - int(time.time()))

    # ---- resources ------------------------------------------------------------------------------

    def validate_bearer_token(self, token: str, scopes: Any, request: Any) -> bool:
        """The toolkit's look-up, local or by introspection (which it caches), and then pawld, each
        time. Raises ServiceUnavailable where nobody can tell and the policy is "closed"."""
        if not super().validate_bearer_token(token, scopes, request):
            return False
        row = request.access_token
        # The row's text, not the one that came: where a database compares without regard to case, a
        # token in other letters would be found, and neither its hash nor its family be revoked.
        text = row.token or token
        ask_about = self.remote_token if self.is_remote(row) else self.describe
        described = ask_about(text, row)
        if described is None:
            return self._refuse_bearer(request, "The access token is invalid.")
        return self._ask_bearer(described, request)

    def describe(self, text: str, row: Any) -> pawl.Token:
        """What is asked about an access token of our own tables. A project whose access tokens are
        of its own kind (ACCESS_TOKEN_GENERATOR) adds the family here: ``sid``, which the generator
        finds as ``request.pawl_place.sid``."""
        return pawl.Token(issuer=settings.ISSUER, opaque=text.encode(), sid=texts.family_of(text),
                          subject=families.subject_of(row.user), client=rows.client_id_of(row),
                          iat_s=rows.timestamp(row.created))

    def validate_id_token(self, token: str, scopes: Any, request: Any) -> bool:
        """An id_token used as a bearer token: known by jti, user and application."""
        try:
            good = super().validate_id_token(token, scopes, request)
        except _NO_JWT:
            good = False
        if not good:
            return False
        row = request.access_token
        return self._ask_bearer(pawl.Token(
            issuer=settings.ISSUER, jti=str(row.jti), subject=families.subject_of(row.user),
            client=rows.client_id_of(row), iat_s=rows.timestamp(row.created)), request)

    def _ask_bearer(self, described: pawl.Token, request: Any) -> bool:
        answer = get_client().token_check(described)
        try:
            require_good(answer, "oauth")
        except (TokenRefused, ServiceUnavailable) as refusal:
            events.token_refused(None, "access", answer.token.status, reason=answer.token.reason,
                                 scope=answer.token.scope, subject=described.subject,
                                 sid=described.sid)
            if isinstance(refusal, ServiceUnavailable):
                raise
            request.pawl_refusal = refusal
            return self._refuse_bearer(request, str(refusal.detail))
        return True

    @staticmethod
    def _refuse_bearer(request: Any, text: str) -> bool:
        """RFC 6750 section 3.1."""
        request.oauth2_error = OrderedDict([("error", "invalid_token"),
                                            ("error_description", text)])
        request.user = request.client = request.access_token = None
        return False

    # ---- revocation -----------------------------------------------------------------------------

    def revoke_token(self, token: str, token_type_hint: Union[str, None], request: Any,
                     *args: Any, **kwargs: Any) -> None:
        """RFC 7009: through pawld first, then in the rows. A token that is unknown, or another
        client's, is nothing to do and no error; a wrong hint does not matter. Raises
        ServiceUnavailable, and changes nothing, where pawld did not take it."""
        revoking.revoke_text(token, request.client)
