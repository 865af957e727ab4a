"""Refusals that Django REST Framework has no class for."""

from rest_framework import status
from rest_framework.exceptions import APIException


class BodyTooLong(APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_detail = "The body is too long."
    default_code = "body_too_long"
