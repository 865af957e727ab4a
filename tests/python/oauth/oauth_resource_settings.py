"""A resource server apart: its own database, tokens known by introspection alone, and that kept
for ten hours, as the toolkit does."""

import os

from oauth_settings import *  # noqa: F401,F403
from oauth_settings import OAUTH2_PROVIDER as _THEIRS

SECRET_KEY = "another key: this server cannot make a token of the other"
ROOT_URLCONF = "oauth_resource_urls"
OAUTH2_PROVIDER = {
    **_THEIRS, "RESOURCE_SERVER_INTROSPECTION_URL": os.environ.get("PAWL_TEST_INTROSPECTION", ""),
    "RESOURCE_SERVER_INTROSPECTION_CREDENTIALS": ("resource", "resource-secret"),
}
