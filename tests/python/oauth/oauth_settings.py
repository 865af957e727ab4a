"""An authorization server that is a resource server too: the toolkit's endpoints, a few views of
REST Framework and one plain one. The database is a file, so that threads and processes share it."""

import os

SECRET_KEY = "a key of the tests, and of nothing else: 0123456789abcdef"
DEBUG = False
ALLOWED_HOSTS = ["*"]
USE_TZ = True
ROOT_URLCONF = "oauth_urls"
DATABASES = {"default": {
    "ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["PAWL_TEST_DATABASE"],
    "OPTIONS": {"timeout": 60},
    "TEST": {"NAME": os.environ["PAWL_TEST_DATABASE"] + ".test"}}}
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions",
                  "rest_framework", "rest_framework.authtoken", "oauth2_provider", "pawl.django",
                  "pawl.oauth", "pawl.tokens", "oauth_app", "knox"]
# Tables are made from the models: migrations take seconds for each process.
MIGRATION_MODULES = {name: None for name in ("auth", "contenttypes", "sessions", "authtoken",
                                             "oauth2_provider", "knox")}
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "pawl.oauth.UnavailableMiddleware",
]
STATIC_URL = "/static/"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["pawl.oauth.OAuth2Authentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
}
OAUTH2_PROVIDER = {
    "OAUTH2_VALIDATOR_CLASS": "pawl.oauth.PawlOAuth2Validator",
    "SCOPES": {"products:read": "read", "products:write": "write", "introspection": "introspect"},
    "PKCE_REQUIRED": True,
    "ACCESS_TOKEN_EXPIRE_SECONDS": 3600,
    "ALWAYS_RELOAD_OAUTHLIB_CORE": True,
}
if os.environ.get("PAWL_TEST_HASHED"):  # the toolkit's hashed storage, from 3.3 on
    OAUTH2_PROVIDER["COMPLIANT_BCP_RFC9700_TOKEN_STORAGE"] = True
PAWL = {"ADDR": os.environ.get("PAWL_ADDR", ""), "LOG_REPEAT_S": 0, "DEADLINE_MS": 5000,
        "BACKEND": os.environ.get("PAWL_TEST_BACKEND", "auto"),
        "DURABLE_DEADLINE_MS": 10000}
