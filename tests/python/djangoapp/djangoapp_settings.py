"""A small project: plain views and REST Framework's, limited, on SQLite in memory."""

SECRET_KEY = "a key of the tests, and of nothing else: 0123456789abcdef"
DEBUG = False
ALLOWED_HOSTS = ["*"]
USE_TZ = True
ROOT_URLCONF = "djangoapp_urls"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions",
                  "rest_framework", "pawl.django"]
MIDDLEWARE = [
    "pawl.django.middleware.SecurityEventsMiddleware",
    "pawl.django.middleware.RateLimitHeadersMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
TEMPLATES = []
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.SessionAuthentication"],
    "DEFAULT_THROTTLE_RATES": {"anon": "3/minute", "user": "5/minute", "burst": "2/s"},
    "NUM_PROXIES": 0,
}
# A busy machine is late now and then: no test here is about that.
PAWL = {"LOG_REPEAT_S": 0, "DEADLINE_MS": 10_000}
