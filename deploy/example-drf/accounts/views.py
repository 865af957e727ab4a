"""Sign up, log in and out, the second factor, passwords, service tokens."""

from django.contrib.auth import update_session_auth_hash
from django.contrib.auth import views as browser
from django.contrib.auth.tokens import default_token_generator
from django.core.mail import send_mail
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_POST
from documents.permissions import IsFirstParty, IsPerson, IsStaff
from pawl.django import events
from pawl.django.decorators import ratelimit
from pawl.django.logins import failed_login_limit, user_name
from pawl.drf import FailedLoginThrottle
from pawl.simplejwt import log_out_everywhere
from pawl.simplejwt.views import TokenObtainPairView
from rest_framework import generics, mixins, status, viewsets
from rest_framework.exceptions import ValidationError
from rest_framework.response import Response
from rest_framework.views import APIView
from security import throttles

from . import serializers, sessions, totp
from .models import ServiceToken, User, email_digest

SERVICE_TOKENS_MAX = 20  #: of one user

# ---- strangers ----------------------------------------------------------------------------------


class SignupView(generics.CreateAPIView):
    authentication_classes = ()
    permission_classes = ()
    throttle_classes = (throttles.SignupThrottle,)
    serializer_class = serializers.SignupSerializer


class LoginView(TokenObtainPairView):
    """A pair of tokens for a name and a password. 5 a minute for the name and for the address, and
    20 failed ones an hour; all or none is charged, before the password is looked at, and the charge
    for a failure is given back when there was none."""

    throttle_classes = (throttles.LoginNameThrottle, throttles.LoginAddressThrottle,
                        FailedLoginThrottle)


def _browser_login(request):
    """The same for browsers, as a page with CSRF protection. A plain Django view: its decorators
    count in the records of the throttles above."""
    if request.method != "POST":
        return _login_page(request)
    with failed_login_limit(request, request.POST.get("username"), rates="20/hour") as attempt:
        response = _login_page(request)
        if response.status_code != 302:
            attempt.failed()
    return response


def _tried_name(group, request):
    return user_name(request.POST.get("username")) or "nobody"


_login_page = browser.LoginView.as_view(template_name="accounts/login.html")
browser_login = never_cache(csrf_protect(
    ratelimit("5/minute", key="ip", method="POST", scope="login_address")(
        ratelimit("5/minute", key=_tried_name, method="POST", scope="login_name")(
            _browser_login))))
browser_logout = require_POST(csrf_protect(browser.LogoutView.as_view()))


class PasswordResetView(APIView):
    """Always the same answer: whether an account exists is nobody's business."""

    authentication_classes = ()
    permission_classes = ()
    throttle_classes = (throttles.PasswordResetThrottle,)

    def post(self, request):
        data = serializers.PasswordResetSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        user = User.objects.filter(email_digest=email_digest(data.validated_data["email"]),
                                   is_active=True).first()
        if user is not None:
            token = default_token_generator.make_token(user)
            send_mail("Your new password", f"user: {user.pk}\ntoken: {token}\n", None,
                      [user.email], fail_silently=True)
        return Response({"detail": "If the address has an account, a message is on its way."},
                        status.HTTP_202_ACCEPTED)


class PasswordResetConfirmView(APIView):
    authentication_classes = ()
    permission_classes = ()
    throttle_classes = (throttles.PasswordResetConfirmThrottle,)

    def post(self, request):
        data = serializers.PasswordResetConfirmSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        given = data.validated_data
        user = User.objects.filter(pk=given["user"], is_active=True).first()
        if user is None or not default_token_generator.check_token(user, given["token"]):
            raise ValidationError({"token": ["This link is not good any more."]})
        try:
            user.set_password(serializers.strong(given["new_password"], user))
        except ValidationError as error:
            raise ValidationError({"new_password": error.detail}) from None
        user.save(update_fields=["password"])  # pawl.simplejwt revokes what was issued before
        return Response(status=status.HTTP_204_NO_CONTENT)


# ---- the user's own account ---------------------------------------------------------------------


class MeView(generics.RetrieveUpdateAPIView):
    serializer_class = serializers.MeSerializer

    def get_object(self):
        return self.request.user


class _OwnAccountView(APIView):
    """Not for applications and scripts that act for the user, whatever their scopes."""

    permission_classes = (IsPerson, IsFirstParty)


class LogoutEverywhereView(_OwnAccountView):
    """Every token and session of the user from before now is refused by every worker."""

    def post(self, request):
        log_out_everywhere(request.user, actor=request.user.pk, request=request)
        return Response(status=status.HTTP_204_NO_CONTENT)


class PasswordChangeView(_OwnAccountView):
    """Ends every log-in, and begins the one that it answers with."""

    throttle_classes = (throttles.PasswordChangeThrottle,)  # the old one is not to be guessed

    def post(self, request):
        totp.require(request, always=False)
        data = serializers.PasswordChangeSerializer(data=request.data, context={"request": request})
        data.is_valid(raise_exception=True)
        request.user.set_password(data.validated_data["new_password"])
        request.user.save(update_fields=["password"])
        if request.auth is None:
            return _stay(request)
        return Response(serializers.pair_for(request.user))


def _stay(request):
    """The browser that changed the password goes on, in a new session."""
    update_session_auth_hash(request._request, request.user)
    sessions.begin(None, request._request, request.user)
    return Response(status=status.HTTP_204_NO_CONTENT)


class EmailChangeView(_OwnAccountView):
    """Who has the address can reset the password, so it wants as much as the password does."""

    throttle_classes = (throttles.PasswordChangeThrottle,)

    def post(self, request):
        totp.require(request, always=False)
        data = serializers.EmailChangeSerializer(request.user, data=request.data,
                                                 context={"request": request})
        data.is_valid(raise_exception=True)
        data.save()
        return Response(status=status.HTTP_204_NO_CONTENT)


class TotpSetupView(_OwnAccountView):
    """A new secret, as text, URI and QR code. It does nothing until it is confirmed with a code."""

    def post(self, request):
        totp.require(request, always=False)
        return Response(totp.provision(request.user), status.HTTP_201_CREATED)


class TotpVerifyView(_OwnAccountView):
    """A code: confirms the secret the first time, and opens the sensitive paths for ten minutes to
    the access token that comes back."""

    throttle_classes = (throttles.TotpThrottle,)

    def post(self, request):
        data = serializers.CodeSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        if not totp.accept(request.user, data.validated_data["code"]):
            events.login_failed(request, request.user.get_username())
            raise ValidationError({"code": ["This code is wrong, or was used before."]})
        access = totp.raise_level(request)
        return Response({"access": access} if access else {})


class ServiceTokenViewSet(mixins.ListModelMixin, mixins.CreateModelMixin,
                          mixins.DestroyModelMixin, viewsets.GenericViewSet):
    """Tokens of the user's scripts. The token itself is in the answer to POST, once."""

    permission_classes = (IsPerson, IsFirstParty)
    serializer_class = serializers.ServiceTokenSerializer

    def get_queryset(self):
        return self.request.user.service_tokens.all()

    def create(self, request):
        totp.require(request)
        data = self.get_serializer(data=request.data)
        data.is_valid(raise_exception=True)
        if self.get_queryset().count() >= SERVICE_TOKENS_MAX:
            raise ValidationError(f"You have {SERVICE_TOKENS_MAX} already: delete one first.")
        given = dict(data.validated_data)
        row, token = ServiceToken.issue(request.user, given.pop("expires") - timezone.now(),
                                        **given)
        return Response({**self.get_serializer(row).data, "token": token}, status.HTTP_201_CREATED)

    def perform_destroy(self, row):
        row.revoke(actor=self.request.user.pk, request=self.request)


# ---- others -------------------------------------------------------------------------------------


class PersonView(generics.RetrieveAPIView):
    """Somebody else, masked."""

    serializer_class = serializers.PersonSerializer
    queryset = User.objects.filter(is_active=True)


class AccountDisableView(APIView):
    """Staff closes an account: its tokens are refused everywhere at once."""

    permission_classes = (IsPerson, IsFirstParty, IsStaff)

    def post(self, request, pk):
        totp.require(request)
        user = generics.get_object_or_404(User, pk=pk)
        user.is_active = False
        user.save(update_fields=["is_active"])  # pawl.simplejwt revokes
        return Response(status=status.HTTP_204_NO_CONTENT)
