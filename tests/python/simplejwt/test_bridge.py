"""What the rest of a project does to tokens and users reaches pawld."""

import pytest
from django.contrib.auth import authenticate, get_user_model
from django.contrib.auth.hashers import make_password
from django.db import IntegrityError, transaction

from conftest import PASSWORD
from pawl.simplejwt.answers import ServiceUnavailable


@pytest.fixture
def models(request):
    from django.apps import apps

    if not apps.is_installed("rest_framework_simplejwt.token_blacklist"):
        pytest.skip("simplejwt's blacklist app is not in this project")
    from rest_framework_simplejwt.token_blacklist import models as found
    return found


def is_good(shop, pair):
    return shop.me(pair["access"]).status_code == 200


def is_dead(shop, pair):
    return (shop.me(pair["access"]).status_code == 401
            and shop.refresh(pair["refresh"]).status_code == 401)


# ---- simplejwt's blacklist ----------------------------------------------------------------------


def test_the_stock_admin_ends_a_login(shop, models, client):
    pair = shop.login()
    admin = get_user_model().objects.create_superuser("root", password=PASSWORD)
    client.force_login(admin)
    row = models.OutstandingToken.objects.get(user=shop.user)
    answer = client.post("/admin/token_blacklist/blacklistedtoken/add/", {"token": row.pk})
    assert answer.status_code == 302, answer.content
    assert is_dead(shop, pair)


def test_a_row_for_any_token_of_a_login_ends_it(shop, models):
    first = shop.login()
    second = shop.refresh(first["refresh"]).data
    row = models.OutstandingToken.objects.order_by("pk").first()
    models.BlacklistedToken.objects.create(token=row)
    assert is_dead(shop, second) and is_dead(shop, first)


def test_a_token_of_simplejwt_s_own_class_is_ended_by_its_row(shop, models):
    from rest_framework_simplejwt.tokens import RefreshToken as Stock

    from pawl.simplejwt.tokens import RefreshToken

    stock = Stock.for_user(shop.user)
    RefreshToken(str(stock))
    stock.blacklist()
    with pytest.raises(Exception, match="revoked"):
        RefreshToken(str(stock))


def test_a_log_out_is_seen_in_simplejwt_s_tables_and_told_once(shop, models, events):
    from pawl.simplejwt.tokens import RefreshToken

    token = RefreshToken.for_user(shop.user)
    row, created = token.blacklist()
    assert created and row.token.jti == token["jti"]
    assert len(events("revoked")) == 1
    assert token.blacklist() == (row, False)


def test_a_row_that_pawld_did_not_take_is_not_made_and_the_next_try_makes_both(shop, models):
    pair = shop.login()
    row = models.OutstandingToken.objects.get(user=shop.user)
    shop.lose_daemon()
    with pytest.raises(ServiceUnavailable):
        models.BlacklistedToken.objects.get_or_create(token=row)
    assert not models.BlacklistedToken.objects.exists()
    shop.start_daemon()
    models.BlacklistedToken.objects.get_or_create(token=row)
    assert is_dead(shop, pair)


# ---- users --------------------------------------------------------------------------------------


def set_password(user):
    user.set_password("another password")
    user.save()


def set_hash(user):
    user.password = make_password("another password")
    user.save()


def set_hash_alone(user):
    user.password = make_password("another password")
    user.save(update_fields=["password"])


def set_unusable(user):
    user.set_unusable_password()
    user.save()


def set_inactive(user):
    user.is_active = False
    user.save()


def set_inactive_of_a_part(user):
    part = get_user_model().objects.only("pk").get(pk=user.pk)
    part.is_active = False
    part.save(update_fields=["is_active"])


def delete(user):
    user.delete()


CHANGES = [set_password, set_hash, set_hash_alone, set_unusable, set_inactive,
           set_inactive_of_a_part, delete]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_a_user_ends_all_logins(shop, change):
    pairs = [shop.login(), shop.login()]
    get_user_model().objects.create_user("bob", password=PASSWORD)
    bob = shop.login(name="bob")
    change(get_user_model().objects.get(pk=shop.user.pk))
    for pair in pairs:
        refused = shop.me(pair["access"], "/me/stateless/")
        assert refused.status_code == 401 and refused.data["code"] == "token_revoked"
        assert is_dead(shop, pair)
    assert is_good(shop, bob)


def test_other_changes_of_a_user_end_nothing(shop):
    pair = shop.login()
    user = get_user_model().objects.get(pk=shop.user.pk)
    user.email = "new@example.org"
    user.save()
    user.save(update_fields=["last_login"])
    part = get_user_model().objects.defer("password").get(pk=user.pk)
    part.first_name = "Alice"
    part.save()
    user.set_password(PASSWORD)
    user.password = get_user_model().objects.get(pk=user.pk).password
    user.save()
    assert is_good(shop, pair)


def test_a_stronger_hash_of_the_same_password_is_no_change(shop):
    pair = shop.login()
    get_user_model().objects.filter(pk=shop.user.pk).update(
        password=make_password(PASSWORD, hasher="pbkdf2_sha256"))
    shop.login()  # Django stores the preferred hash now
    assert get_user_model().objects.get(pk=shop.user.pk).password.startswith("md5$")
    second = shop.login()
    assert is_good(shop, pair) and is_good(shop, second)


def test_who_changed_the_password_logs_in_at_once(shop):
    set_password(get_user_model().objects.get(pk=shop.user.pk))
    pair = shop.post("/token/", username="alice", password="another password").data
    assert is_good(shop, pair)


@pytest.mark.parametrize("change", [set_password, set_inactive, delete])
def test_a_change_that_cannot_revoke_is_refused_before_it_is_made(shop, change):
    shop.lose_daemon()
    with pytest.raises(ServiceUnavailable):
        change(get_user_model().objects.get(pk=shop.user.pk))
    assert authenticate(username="alice", password=PASSWORD) is not None


def test_the_admin_says_503_where_a_change_cannot_revoke(shop, client):
    client.force_login(get_user_model().objects.create_superuser("root", password=PASSWORD))
    shop.lose_daemon()
    form = {"password1": "another password", "password2": "another password"}
    answer = client.post(f"/admin/auth/user/{shop.user.pk}/password/", form)
    assert answer.status_code == 503 and int(answer["Retry-After"]) >= 1
    assert authenticate(username="alice", password=PASSWORD) is not None
    shop.start_daemon()
    assert client.post(f"/admin/auth/user/{shop.user.pk}/password/", form).status_code == 302


def test_open_makes_the_change_and_says_that_tokens_live_on(shop, events):
    shop.lose_daemon(ON_UNAVAILABLE={"revoke": "open"})
    set_password(get_user_model().objects.get(pk=shop.user.pk))
    assert authenticate(username="alice", password="another password") is not None
    assert "tokens that had to be revoked are not" in str(events("backend_error"))


def test_a_login_with_the_old_password_before_the_commit_is_ended_too(shop):
    user = get_user_model().objects.get(pk=shop.user.pk)
    with transaction.atomic():
        set_password(user)
        from pawl.simplejwt.tokens import RefreshToken
        raced = RefreshToken.for_user(user)  # as another worker would, which reads the old row
        pair = {"refresh": str(raced), "access": str(raced.access_token)}
        assert is_good(shop, pair)
    assert is_dead(shop, pair)


def test_a_change_that_is_rolled_back_only_logs_out(shop):
    pair = shop.login()
    with pytest.raises(IntegrityError), transaction.atomic():
        set_password(get_user_model().objects.get(pk=shop.user.pk))
        get_user_model().objects.create_user("alice")
    assert authenticate(username="alice", password=PASSWORD) is not None
    assert not is_good(shop, pair)


def test_the_switch_turns_each_of_them_off(shop):
    shop.use(REVOKE_ON=["blacklist"])
    pair = shop.login()
    set_password(get_user_model().objects.get(pk=shop.user.pk))
    assert is_good(shop, pair)


def test_a_save_that_cannot_matter_costs_no_query(shop, django_assert_num_queries):
    with django_assert_num_queries(1):
        shop.user.save(update_fields=["last_login"])
    with django_assert_num_queries(2):
        shop.user.save()
