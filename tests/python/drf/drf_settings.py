"""A project with REST Framework and nothing else: no database, no middleware."""

SECRET_KEY = "a key of the tests, and of nothing else: 0123456789abcdef"
ALLOWED_HOSTS = ["*"]
USE_TZ = True
ROOT_URLCONF = "drf_urls"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "rest_framework",
                  "pawl.django"]
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "UNAUTHENTICATED_USER": "drf_rig.Nobody",
    "DEFAULT_THROTTLE_RATES": {
        "anon": "3/minute", "user": "5/minute", "burst": "2/s", "sustained": "4/hour",
        "login": "3/minute", "signup": "3/hour", "password_reset": "2/hour", "premium": "6/minute",
        "uploads": "2/minute", "both": "2/s, 3/minute", "user.gold": "7/minute",
    },
    "NUM_PROXIES": 0,
}
PAWL = {"LOG_REPEAT_S": 0}
