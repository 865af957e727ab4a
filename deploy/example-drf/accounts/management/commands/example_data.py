"""People, roles, products and OAuth applications to play with. Refused in production."""

import uuid

from accounts.models import User
from django.conf import settings
from django.contrib.auth.models import Group
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from documents.models import Organisation, Product
from oauth2_provider.models import Application

PASSWORD = "correct horse battery"
SECRET = "warehouse secret"
#: name -> (has a plan, is staff)
PEOPLE = {"anna": (False, False), "bert": (False, False), "cleo": (True, False),
          "dora": (False, False), "root": (False, True)}


def stable(kind, name):
    """The same id in each database: replicas with databases of their own know the same people."""
    return uuid.uuid5(uuid.NAMESPACE_URL, f"https://example.org/{kind}/{name}")


class Command(BaseCommand):
    help = f"Make the people and things that the session plays with (password: {PASSWORD})"

    @transaction.atomic
    def handle(self, *args, **options):
        if settings.PRODUCTION:
            raise CommandError("EXAMPLE_PRODUCTION is set: accounts with a known password are not "
                               "for production")
        people = {name: self._person(name, *kind) for name, kind in PEOPLE.items()}
        roles = [Group.objects.get_or_create(name=name)[0] for name in ("editor", "manager")]
        people["cleo"].groups.add(*roles)
        organisation, _ = Organisation.objects.get_or_create(
            name="Ratchet Ltd", defaults={"id": stable("organisations", "ratchet")})
        organisation.members.add(people["anna"], people["bert"])
        for name, price in (("pawl", 990), ("ratchet wheel", 2490)):
            Product.objects.get_or_create(name=name, defaults={
                "price_cents": price, "id": stable("products", name)})
        self._application("warehouse", Application.GRANT_CLIENT_CREDENTIALS, "confidential",
                          people["cleo"])
        self._application("phone", Application.GRANT_AUTHORIZATION_CODE, "public", people["cleo"])
        self.stdout.write(", ".join(people))

    @staticmethod
    def _person(name, premium, staff):
        known = User.objects.filter(username=name).first()
        return known or User.objects.create_user(
            name, f"{name}@example.org", PASSWORD, id=stable("people", name),
            phone="+491701234567", is_premium=premium, is_staff=staff)

    @staticmethod
    def _application(client_id, grant, kind, user):
        if not Application.objects.filter(client_id=client_id).exists():
            Application.objects.create(
                client_id=client_id, client_secret=SECRET, client_type=kind, name=client_id,
                authorization_grant_type=grant, user=user,
                redirect_uris="https://app.example/back", skip_authorization=True)
