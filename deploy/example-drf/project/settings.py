"""Settings of the example. What differs between a laptop and production comes from the environment;
with PAWL_ADDR alone it runs.

PAWL_ADDR                where pawld listens
EXAMPLE_PRODUCTION=1     HTTPS only, closed CORS, no default secrets
EXAMPLE_SECRET_KEY       Django's secret
EXAMPLE_FIELD_KEYS       Fernet keys of personal fields, the newest first, separated by commas
EXAMPLE_DIGEST_KEY       what personal fields are looked up under; never changes
EXAMPLE_HOSTS            host names, separated by commas
EXAMPLE_ORIGINS          pages that may call the API from a browser, separated by commas
EXAMPLE_ORIGIN_PATTERNS  the same as regular expressions
EXAMPLE_PROXIES          how many proxies of ours stand in front (their X-Forwarded-* is believed)
EXAMPLE_WORKERS          processes of the fleet, for when no pawld answers
EXAMPLE_DATA             folder of the database, uploads and (in development) mails
EXAMPLE_SECURITY_LOG     file of the security log; else standard error
EXAMPLE_JWT_KEY_FILE     RSA key (PEM); the public one beside it with .pub: RS256 in place of HS256
EXAMPLE_DEADLINE_MS      how long a check may take: 20 unless the machine is busy with other things
EXAMPLE_ONE_TIME_LIMIT   name of a limit in pawld.yaml for codes that are good once; else they are
                         counted like any rate, and a pawld that is killed may forget a second of it
EXAMPLE_MAIL_HOST        SMTP server of production
"""

import os
import pathlib
from datetime import timedelta

import django
import pawl.simplejwt
from django.core.exceptions import ImproperlyConfigured

BASE = pathlib.Path(__file__).resolve().parents[1]
DATA = pathlib.Path(os.environ.get("EXAMPLE_DATA", BASE / "data"))
DATA.mkdir(parents=True, exist_ok=True)
PRODUCTION = os.environ.get("EXAMPLE_PRODUCTION") == "1"


def secret(name, default):
    """A secret of the environment; production has no default."""
    value = os.environ.get(name)
    if value:
        return value
    if PRODUCTION:
        raise ImproperlyConfigured(f"{name} is not set: production has no default secrets")
    return default


def words(name, default=""):
    return [word.strip() for word in os.environ.get(name, default).split(",") if word.strip()]


SECRET_KEY = secret("EXAMPLE_SECRET_KEY", "for development alone; production reads its own")
FIELD_KEYS = secret("EXAMPLE_FIELD_KEYS", "Zm9yIGRldmVsb3BtZW50IGFsb25lLCAzMiBieXRlcyE=").split(",")
DIGEST_KEY = secret("EXAMPLE_DIGEST_KEY", "for development alone")
DEBUG = False  # error bodies are the same everywhere
ALLOWED_HOSTS = words("EXAMPLE_HOSTS", "" if PRODUCTION else "*")
PROXIES = int(os.environ.get("EXAMPLE_PROXIES", "0"))

INSTALLED_APPS = [
    "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions",
    "rest_framework", "oauth2_provider", "guardian", "corsheaders",
    "pawl.django", "pawl.simplejwt", "pawl.oauth", "pawl.tokens",
    "accounts", "documents", "security",
]
MIDDLEWARE = [
    "security.requests.RequestIdMiddleware",
    "pawl.django.middleware.SecurityEventsMiddleware",
    "pawl.django.middleware.RateLimitHeadersMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "security.errors.ErrorShapeMiddleware",
    "security.requests.BodyCapMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "accounts.sessions.RevocableSessionMiddleware",
    "pawl.oauth.UnavailableMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "project.urls"
WSGI_APPLICATION = "project.wsgi.application"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True,
              "OPTIONS": {"context_processors": [
                  "django.template.context_processors.request",
                  "django.contrib.auth.context_processors.auth"]}}]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": DATA / "example.sqlite3",
                         "OPTIONS": {"timeout": 30}}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
STATIC_URL = "/static/"
MEDIA_ROOT = DATA / "uploads"
FILE_UPLOAD_PERMISSIONS = 0o600
EMAIL_BACKEND = ("django.core.mail.backends.smtp.EmailBackend" if PRODUCTION
                 else "django.core.mail.backends.filebased.EmailBackend")
EMAIL_FILE_PATH = DATA / "mails"
EMAIL_HOST = os.environ.get("EXAMPLE_MAIL_HOST", "localhost")

# ---- who are you --------------------------------------------------------------------------------

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend",
                           "guardian.backends.ObjectPermissionBackend"]
ANONYMOUS_USER_NAME = None  # guardian: nobody has grants without a name
PASSWORD_RESET_TIMEOUT = 3600
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator",
     "OPTIONS": {"user_attributes": ("username", "email", "first_name", "last_name")}},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
     "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
SIMPLE_JWT = {
    **pawl.simplejwt.CLASSES,
    "TOKEN_OBTAIN_SERIALIZER": "accounts.serializers.LoginSerializer",
    "ACCESS_TOKEN_LIFETIME": timedelta(minutes=15),
    "REFRESH_TOKEN_LIFETIME": timedelta(days=7),
    "ROTATE_REFRESH_TOKENS": True,
    "UPDATE_LAST_LOGIN": True,
    "SIGNING_KEY": SECRET_KEY,
}
if os.environ.get("EXAMPLE_JWT_KEY_FILE"):  # RS256: others verify with the public key alone
    SIMPLE_JWT.update(
        ALGORITHM="RS256",
        SIGNING_KEY=pathlib.Path(os.environ["EXAMPLE_JWT_KEY_FILE"]).read_text("ascii"),
        VERIFYING_KEY=pathlib.Path(os.environ["EXAMPLE_JWT_KEY_FILE"] + ".pub").read_text("ascii"))
ONE_TIME_LIMIT = os.environ.get("EXAMPLE_ONE_TIME_LIMIT", "")
SCOPES = {"read": "Read what is yours", "write": "Change what is yours",
          "products:read": "Read products", "products:write": "Change products",
          "orders:read": "Read your orders", "orders:write": "Place orders"}
OAUTH2_PROVIDER = {
    "OAUTH2_VALIDATOR_CLASS": "accounts.validators.OAuthValidator",
    "ACCESS_TOKEN_EXPIRE_SECONDS": 3600,
    "REFRESH_TOKEN_EXPIRE_SECONDS": 86_400,
    "ROTATE_REFRESH_TOKEN": True,
    "PKCE_REQUIRED": True,
    "SCOPES": {**SCOPES, "introspection": "Ask whether a token is good"},
    "DEFAULT_SCOPES": ["read"],
    "ALLOWED_REDIRECT_URI_SCHEMES": ["https"] if PRODUCTION else ["http", "https"],
    # RFC 9700 as current releases of the toolkit enforce it; Debian's knows none of these, and
    # OAuthValidator has what matters most.
    **{f"COMPLIANT_BCP_RFC9700_{name}": True for name in (
        "IMPLICIT_GRANT", "PASSWORD_GRANT", "PKCE_METHOD", "ACCESS_TOKEN_TRANSPORT",
        "AUTHZ_RESPONSE_ISS", "TOKEN_STORAGE", "REFRESH_TOKEN")},
    "REFRESH_TOKEN_REUSE_PROTECTION": True,
}
LOGIN_URL = "/auth/session/"
LOGIN_REDIRECT_URL = "/me/"
LOGOUT_REDIRECT_URL = LOGIN_URL
SESSION_COOKIE_AGE = 12 * 3600

# ---- how fast -----------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.authentication.BearerAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["documents.permissions.IsPerson",
                                   "documents.permissions.HasScopes"],
    "DEFAULT_THROTTLE_CLASSES": [
        "pawl.drf.AnonRateThrottle", "pawl.drf.UserRateThrottle",
        "security.throttles.BurstThrottle", "security.throttles.SustainedThrottle",
    ],
    "DEFAULT_THROTTLE_RATES": {
        "anon": "100/hour", "user": "1000/hour", "burst": "60/minute", "sustained": "1000/day",
        "default": "100/hour", "premium": "1000/hour", "refresh": "60/minute",
        "login_name": "5/minute", "login_address": "5/minute", "failed_login": "20/hour",
        "signup": "3/hour", "password_reset": "3/hour", "password_reset_confirm": "10/hour",
        "password_change": "10/hour", "totp": "5/5m",
    },
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["security.parsers.BoundedJSONParser"],
    "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.LimitOffsetPagination",
    "PAGE_SIZE": 50,
    "EXCEPTION_HANDLER": "security.errors.exception_handler",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
PAWL = {
    "MODE": "atomic",
    "HEADERS": "both",
    "DEADLINE_MS": int(os.environ.get("EXAMPLE_DEADLINE_MS", "20")),
    "EXPECTED_WORKERS": int(os.environ.get("EXAMPLE_WORKERS", "4")),
    "TRUSTED_PROXIES": PROXIES,
    # Where a stranger could guess, nobody guesses while nobody counts.
    "ON_ERROR": {"default": "local", "login_name": "closed", "login_address": "closed",
                 "failed_login": "closed", "password_reset": "closed",
                 "password_reset_confirm": "closed", "password_change": "closed",
                 "totp": "closed"},
}

# ---- what comes in ------------------------------------------------------------------------------

DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 200
FILE_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
UPLOAD_MAX_BYTES = 5 * 1024 * 1024
BODY_MAX_BYTES = UPLOAD_MAX_BYTES + 64 * 1024  # and what is around a file
JSON_DEPTH_MAX = 16

# ---- browsers -----------------------------------------------------------------------------------

CORS_ALLOWED_ORIGINS = words("EXAMPLE_ORIGINS",
                             "" if PRODUCTION else "http://localhost:3000,http://localhost:5173")
CORS_ALLOWED_ORIGIN_REGEXES = words("EXAMPLE_ORIGIN_PATTERNS",
                                    "" if PRODUCTION else r"^http://127\.0\.0\.1:\d+$")
CORS_ALLOW_METHODS = ["DELETE", "GET", "OPTIONS", "PATCH", "POST", "PUT"]
CORS_ALLOW_HEADERS = ["accept", "authorization", "content-type", "x-csrftoken", "x-request-id"]
CORS_EXPOSE_HEADERS = ["x-request-id"]  # the middleware of pawl adds what it wrote
CORS_ALLOW_CREDENTIALS = True
CORS_PREFLIGHT_MAX_AGE = 86_400
CORS_OPEN_PATH = "/webhooks/"  # any page may call it: see security.cors

X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
CSRF_FAILURE_VIEW = "security.errors.csrf_failure"
# Before Django 4 these were host names.
CSRF_TRUSTED_ORIGINS = [origin if django.VERSION >= (4,) else origin.partition("://")[2]
                        for origin in CORS_ALLOWED_ORIGINS]
if PRODUCTION:
    SECURE_SSL_REDIRECT = True
    SECURE_REDIRECT_EXEMPT = [r"^healthz$"]  # asked from inside the cluster, without a proxy
    if PROXIES:  # without a proxy of ours anybody could write this header
        SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_HSTS_SECONDS = 365 * 86_400
    SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = True
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
    SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = "__Host-sessionid", "__Host-csrftoken"

# ---- what is seen -------------------------------------------------------------------------------

_to = ({"class": "logging.FileHandler", "filename": os.environ["EXAMPLE_SECURITY_LOG"],
        "delay": True, "encoding": "utf-8"} if os.environ.get("EXAMPLE_SECURITY_LOG")
       else {"class": "logging.StreamHandler"})
LOGGING = {
    "version": 1, "disable_existing_loggers": False,
    "formatters": {"json": {"()": "pawl.django.events.JsonFormatter"}},
    "handlers": {"security": {**_to, "formatter": "json"},
                 "errors": {"class": "logging.StreamHandler", "formatter": "json"}},
    "loggers": {
        "pawl.security": {"handlers": ["security"], "level": "INFO", "propagate": False},
        "django.security": {"handlers": ["errors"], "level": "WARNING", "propagate": False},
        # Django would write paths, which may hold a reset link; the security log has the route.
        "django.request": {"handlers": ["errors"], "level": "CRITICAL", "propagate": False},
        "example.errors": {"handlers": ["errors"], "level": "ERROR", "propagate": False},
    },
}
