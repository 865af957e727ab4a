"""django-rest-knox, revocable. Importing this module imports knox."""

from typing import Any

from knox.auth import TokenAuthentication as _Knoxes

from .naming import check_opaque


class KnoxTokenAuthentication(_Knoxes):  # type: ignore[misc]  # no hints there
    """knox's TokenAuthentication, which asks pawld after its table.

    knox keeps only a digest (SHA-512) of a token, and its views end tokens by their rows; so the
    digest is what pawld knows one by. Its log-out views revoke through the bridge.
    """

    def authenticate_credentials(self, token: bytes) -> Any:
        user, row = super().authenticate_credentials(token)
        check_opaque(str(row.digest), subject=user.pk, issued=getattr(row, "created", None))
        return user, row
