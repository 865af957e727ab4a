"""pawl for Django projects: put "pawl.django" into INSTALLED_APPS.

The app brings system checks, management commands and signals; settings are in ``PAWL = {...}``, see
:mod:`pawl.django.conf`. Throttles are in :mod:`pawl.drf`, tokens in :mod:`pawl.simplejwt`,
:mod:`pawl.oauth` and :mod:`pawl.tokens`.
"""
