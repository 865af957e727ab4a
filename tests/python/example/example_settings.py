"""The example's settings, but for what makes tests slow or hides what they look for."""

from project import settings as _example

globals().update({name: value for name, value in vars(_example).items() if name.isupper()})

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# Tables are made from the models: one test applies the migrations, the others save the seconds.
MIGRATION_MODULES = {name: None for name in (
    "auth", "contenttypes", "sessions", "oauth2_provider", "guardian", "accounts", "documents")}
PAWL = {**_example.PAWL, "LOG_REPEAT_S": 0, "DURABLE_DEADLINE_MS": 10_000}
LOGGING = {**_example.LOGGING, "handlers": {}, "loggers": {}}
