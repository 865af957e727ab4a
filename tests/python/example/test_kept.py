"""What is kept: personal fields, identifiers, secrets; and the tables that hold them."""

import json
import uuid

import pytest
from conftest import PASSWORD

SECRET_PARTS = ("anna@example.org", "1701234567")


def columns(table):
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {table}")
        return repr(cursor.fetchall())


def test_personal_fields_are_encrypted_at_rest(api):
    user = api.person(phone="+491701234567")
    api.with_factor(api.access())
    user.refresh_from_db()
    text = columns("accounts_user")
    assert not any(part in text for part in SECRET_PARTS)
    assert user.totp_secret and user.totp_secret not in text
    assert (user.email, user.phone) == ("anna@example.org", "+491701234567")


def test_keys_of_personal_fields_rotate(api, settings):
    from accounts.models import User

    api.person(phone="+491701234567")
    old = settings.FIELD_KEYS
    settings.FIELD_KEYS = ["MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=", *old]
    assert User.objects.get().phone == "+491701234567"
    User.objects.get().save()
    settings.FIELD_KEYS = settings.FIELD_KEYS[:1]
    assert User.objects.get().phone == "+491701234567"
    settings.FIELD_KEYS = old
    with pytest.raises(ValueError, match="EXAMPLE_FIELD_KEYS"):
        User.objects.get()


def test_mail_and_phone_are_masked_for_those_who_are_not_staff(api):
    anna = api.person("anna", phone="+491701234567")
    path = f"/users/{anna.pk}/"
    seen = api.ask("GET", path, bearer=api.bearer("bert")).json()
    assert (seen["email"], seen["phone"]) == ("a***@example.org", "+49***67")
    staff = api.ask("GET", path, bearer=api.bearer("root", is_staff=True)).json()
    assert (staff["email"], staff["phone"]) == ("anna@example.org", "+491701234567")
    assert api.document(api.access("anna"))["owner"]["email"] == "a***@example.org"


def test_the_anonymous_id_is_stable_and_nobodys_name(api):
    access = api.bearer("anna")
    first, again = api.me(access).json(), api.me(access).json()
    assert first["anonymous_id"] == again["anonymous_id"]
    assert first["anonymous_id"] not in first["id"].replace("-", "")
    assert api.me(api.bearer("bert")).json()["anonymous_id"] != first["anonymous_id"]


def test_identifiers_outside_are_random_uuids(api):
    access = api.bearer()
    for made in (api.document(access), api.me(access).json()):
        assert uuid.UUID(made["id"]).version == 4
    assert api.status("GET", "/documents/1/", bearer=access) == 404


def test_secrets_are_never_in_answers_or_logs(api, events):
    user = api.person()
    access, secret = api.with_factor(api.access())
    _, token = api.service_token(user)
    answers = [api.me(access), api.ask("GET", "/me/tokens/", bearer=access), api.me(token),
               api.login(password="a wrong password"), api.ask("GET", f"/users/{user.pk}/",
                                                               bearer=access)]
    text = "".join(one.content.decode() for one in answers)
    user.refresh_from_db()
    logged = json.dumps([getattr(record, "fields", record.getMessage())
                         for record in events.records], default=str)
    for what in (PASSWORD, user.password, secret, token, access, "a wrong password"):
        assert what not in text
        assert what not in logged


def test_the_migrations_are_what_the_models_say_and_apply(tmp_path):
    import os
    import subprocess
    import sys

    from conftest import EXAMPLE

    import rig

    env = dict(os.environ, EXAMPLE_DATA=str(tmp_path))
    for command in (["makemigrations", "--check", "--dry-run", "accounts", "documents"],
                    ["migrate", "-v", "0"], ["example_data"], ["example_data"], ["check"]):
        done = subprocess.run([sys.executable, "manage.py", *command], cwd=EXAMPLE, env=env,
                              capture_output=True, text=True, timeout=rig.PATIENCE_S)
        assert done.returncode == 0, done.stdout + done.stderr
