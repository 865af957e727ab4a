"""A Django project with the stock classes and pawl's side by side, for load from outside.

What differs between runs comes from the environment: FLEET_DIR (database, worker logs), FLEET_REDIS
(URL of the stock throttle's cache; without it each process has its own), PAWL_ADDR, FLEET_PAWL (a
dict as JSON that goes into PAWL).
"""

import json
import os
import pathlib

FOLDER = pathlib.Path(os.environ["FLEET_DIR"])
SECRET_KEY = "a key of the test project, thirty-two bytes and more"
DEBUG = False
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "project_urls"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "rest_framework",
                  "pawl.django"]
MIDDLEWARE = ["project_urls.watch_work", "pawl.django.middleware.RateLimitHeadersMiddleware"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": FOLDER / "fleet.sqlite3",
                         "OPTIONS": {"timeout": 30}}}
# The stock throttle's store, as its documentation says for several workers.
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
if os.environ.get("FLEET_REDIS"):
    CACHES["default"] = {"BACKEND": "django_redis.cache.RedisCache",
                         "LOCATION": os.environ["FLEET_REDIS"]}
REST_FRAMEWORK = {"DEFAULT_AUTHENTICATION_CLASSES": [], "UNAUTHENTICATED_USER": None,
                  "DEFAULT_THROTTLE_RATES": {"stock100": "100/min", "stock1000": "1000/min",
                                             "pawl100": "100/min", "pawl1000": "1000/min",
                                             "open": "100/min", "closed": "100/min"}}
PAWL = {"ON_ERROR": {"default": "local", "open": "open", "closed": "closed"},
        **json.loads(os.environ.get("FLEET_PAWL", "{}"))}
SIMPLE_JWT = {"ROTATE_REFRESH_TOKENS": True, "SIGNING_KEY": "another key of the test project, long",
              "AUTH_TOKEN_CLASSES": ("pawl.simplejwt.AccessToken",)}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
LOGGING = {
    "version": 1, "disable_existing_loggers": False,
    "formatters": {"json": {"()": "pawl.django.events.JsonFormatter"}},
    "handlers": {"file": {"class": "logging.FileHandler", "filename": FOLDER / "security.log",
                          "formatter": "json", "delay": True}},
    "loggers": {"pawl.security": {"handlers": ["file"], "level": "INFO", "propagate": False}},
}
