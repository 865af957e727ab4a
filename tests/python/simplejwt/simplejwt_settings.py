"""A project with simplejwt. What differs between runs comes from the environment:

SIMPLEJWT_BLACKLIST=0  without simplejwt's own blacklist app
SIMPLEJWT_ALGORITHM    HS256 (default) or RS256
"""

import atexit
import datetime
import os
import shutil
import tempfile

import pawl.simplejwt

FOLDER = tempfile.mkdtemp(prefix="pawl-simplejwt-")
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)

SECRET_KEY = "a key of the test project, thirty-two bytes and more"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "simplejwt_urls"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.admin",
                  "django.contrib.messages", "django.contrib.sessions", "rest_framework",
                  "pawl.django", "pawl.simplejwt"]
if os.environ.get("SIMPLEJWT_BLACKLIST") != "0":
    INSTALLED_APPS.insert(0, "rest_framework_simplejwt.token_blacklist")
MIDDLEWARE = ["pawl.django.middleware.RateLimitHeadersMiddleware",
              "django.contrib.sessions.middleware.SessionMiddleware",
              "django.contrib.auth.middleware.AuthenticationMiddleware",
              "django.contrib.messages.middleware.MessageMiddleware"]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True,
              "OPTIONS": {"context_processors": [
                  "django.template.context_processors.request",
                  "django.contrib.auth.context_processors.auth",
                  "django.contrib.messages.context_processors.messages"]}}]
# A file, so that the threads of a test see one database.
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{FOLDER}/db.sqlite3",
                         "OPTIONS": {"timeout": 30}, "TEST": {"NAME": f"{FOLDER}/test.sqlite3"}}}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher",
                    "django.contrib.auth.hashers.PBKDF2PasswordHasher"]
REST_FRAMEWORK = {"DEFAULT_AUTHENTICATION_CLASSES": [
    "pawl.simplejwt.authentication.JWTAuthentication"]}
PAWL = {}
SIMPLE_JWT = {
    **pawl.simplejwt.CLASSES,
    "ACCESS_TOKEN_LIFETIME": datetime.timedelta(minutes=15),
    "REFRESH_TOKEN_LIFETIME": datetime.timedelta(days=7),
    "SLIDING_TOKEN_LIFETIME": datetime.timedelta(minutes=15),
    "SLIDING_TOKEN_REFRESH_LIFETIME": datetime.timedelta(days=7),
    "ROTATE_REFRESH_TOKENS": True, "UPDATE_LAST_LOGIN": True,
    "SIGNING_KEY": "another key of the test project, long enough for HS256",
}
if os.environ.get("SIMPLEJWT_ALGORITHM") == "RS256":
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    _KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    SIMPLE_JWT.update(
        ALGORITHM="RS256",
        SIGNING_KEY=_KEY.private_bytes(serialization.Encoding.PEM,
                                       serialization.PrivateFormat.PKCS8,
                                       serialization.NoEncryption()).decode(),
        VERIFYING_KEY=_KEY.public_key().public_bytes(
            serialization.Encoding.PEM,
            serialization.PublicFormat.SubjectPublicKeyInfo).decode())
