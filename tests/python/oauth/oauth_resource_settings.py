"""A resource server apart: its own database, tokens known by introspection alone, and that kept
for ten hours, as the toolkit does."""

import os

import oauth_settings as _theirs

globals().update({name: value for name, value in vars(_theirs).items() if name.isupper()})

SECRET_KEY = "another key: this server cannot make a token of the other"
ROOT_URLCONF = "oauth_resource_urls"
OAUTH2_PROVIDER = {
    **_theirs.OAUTH2_PROVIDER,
    "RESOURCE_SERVER_INTROSPECTION_URL": os.environ.get("PAWL_TEST_INTROSPECTION", ""),
    "RESOURCE_SERVER_INTROSPECTION_CREDENTIALS": ("resource", "resource-secret"),
}
