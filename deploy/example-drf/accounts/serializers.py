"""What comes in and goes out about people. Every field is named; secrets are write-only."""

import datetime

from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError as DjangoValidationError
from django.core.validators import RegexValidator
from django.db import IntegrityError, transaction
from django.utils import timezone
from pawl.simplejwt.serializers import TokenObtainPairSerializer
from rest_framework import serializers
from security.fields import mask_email, mask_phone

from .models import ServiceToken, User, email_digest

PHONE = RegexValidator(r"^\+[1-9][0-9]{6,14}\Z", "Write it as +491701234567.")
SERVICE_TOKEN_LIFE_MAX = datetime.timedelta(days=365)
TAKEN = "This address has an account already."


def strong(password, user=None):
    try:
        validate_password(password, user)
    except DjangoValidationError as error:
        raise serializers.ValidationError(error.messages) from None
    return password


def password_field():
    return serializers.CharField(write_only=True, max_length=200, trim_whitespace=False)


class _WithEmail(serializers.ModelSerializer):
    """An address has one account. It is encrypted, so its digest is what must be unique; two
    requests at the same time are told apart by the database."""

    def validate_email(self, value):
        others = User.objects.filter(email_digest=email_digest(value))
        if self.instance is not None:
            others = others.exclude(pk=self.instance.pk)
        if others.exists():
            raise serializers.ValidationError(TAKEN)
        return value

    def save(self, **more):
        try:
            with transaction.atomic():
                return super().save(**more)
        except IntegrityError:
            raise serializers.ValidationError({"email": [TAKEN]}) from None


class SignupSerializer(_WithEmail):
    password = password_field()
    email = serializers.EmailField(max_length=254)
    phone = serializers.CharField(required=False, validators=[PHONE])

    class Meta:
        model = User
        fields = ["id", "username", "email", "phone", "password"]
        read_only_fields = ["id"]

    def validate(self, data):
        about = {name: value for name, value in data.items() if name != "password"}
        try:
            strong(data["password"], User(**about))
        except serializers.ValidationError as error:
            raise serializers.ValidationError({"password": error.detail}) from None
        return data

    def create(self, data):
        return User.objects.create_user(**data)


class MeSerializer(serializers.ModelSerializer):
    """The user, as the user may see and change it."""

    phone = serializers.CharField(required=False, validators=[PHONE])

    class Meta:
        model = User
        fields = ["id", "username", "first_name", "last_name", "email", "phone", "is_premium",
                  "has_second_factor", "roles", "anonymous_id", "last_login"]
        read_only_fields = ["id", "username", "email", "is_premium", "last_login"]


class EmailChangeSerializer(_WithEmail):
    email = serializers.EmailField(max_length=254)
    password = password_field()

    class Meta:
        model = User
        fields = ["email", "password"]

    def validate_password(self, value):
        if not self.instance.check_password(value):
            raise serializers.ValidationError("This is not your password.")
        return value

    def update(self, user, data):
        user.email = data["email"]
        user.save(update_fields=["email"])
        return user


class PersonSerializer(serializers.ModelSerializer):
    """Somebody else: mail and phone are whole for staff alone."""

    email = serializers.SerializerMethodField()
    phone = serializers.SerializerMethodField()

    class Meta:
        model = User
        fields = ["id", "username", "email", "phone"]

    def _shown(self, text, mask):
        return text if self.context["request"].user.is_staff else mask(text)

    def get_email(self, user):
        return self._shown(user.email, mask_email)

    def get_phone(self, user):
        return self._shown(user.phone, mask_phone)


class LoginSerializer(TokenObtainPairSerializer):
    """A pair of tokens for a name and a password, with the claims that pages and services want. The
    mail address is in it masked: a token's payload can be read by whoever sees it."""

    @classmethod
    def get_token(cls, user):
        token = super().get_token(user)
        token["name"] = user.get_full_name() or user.username
        token["email"] = mask_email(user.email)
        token["staff"] = user.is_staff
        token["roles"] = user.roles
        return token


def pair_for(user):
    """The tokens of a log-in that begins now."""
    refresh = LoginSerializer.get_token(user)
    return {"refresh": str(refresh), "access": str(refresh.access_token)}


class PasswordChangeSerializer(serializers.Serializer):
    old_password = password_field()
    new_password = password_field()

    def validate_old_password(self, value):
        if not self.context["request"].user.check_password(value):
            raise serializers.ValidationError("This is not your password.")
        return value

    def validate_new_password(self, value):
        return strong(value, self.context["request"].user)

    def validate(self, data):
        if data["old_password"] == data["new_password"]:
            raise serializers.ValidationError({"new_password": ["This is the old one."]})
        return data


class PasswordResetSerializer(serializers.Serializer):
    email = serializers.EmailField(max_length=254)


class PasswordResetConfirmSerializer(serializers.Serializer):
    user = serializers.UUIDField()
    token = serializers.CharField(max_length=100)
    new_password = password_field()


class CodeSerializer(serializers.Serializer):
    code = serializers.RegexField(r"^[0-9]{6}\Z", write_only=True)


class ServiceTokenSerializer(serializers.ModelSerializer):
    expires = serializers.DateTimeField()
    scope = serializers.CharField(max_length=200, default="read")

    class Meta:
        model = ServiceToken
        fields = ["id", "name", "scope", "created", "expires"]
        read_only_fields = ["id", "created"]
        extra_kwargs = {"name": {"required": True, "allow_blank": False}}

    def validate_expires(self, value):
        now = timezone.now()
        if not now < value <= now + SERVICE_TOKEN_LIFE_MAX:
            raise serializers.ValidationError("Within the next 365 days.")
        return value

    def validate_scope(self, value):
        asked = value.split()
        unknown = sorted(set(asked) - set(settings.SCOPES))
        if unknown or not asked:
            raise serializers.ValidationError("Some of: " + ", ".join(settings.SCOPES) + ".")
        return " ".join(asked)
