"""How fast: each rate at its edge, who is counted, what is said."""

import pytest

import rig


def login(api, name, address, password="wrong"):
    return api.login(name, password, address=address)


def rates(settings, **changed):
    """Other rates than the example's, for what would take a thousand requests to see."""
    framework = settings.REST_FRAMEWORK
    settings.REST_FRAMEWORK = {**framework, "DEFAULT_THROTTLE_RATES": {
        **framework["DEFAULT_THROTTLE_RATES"], **changed}}


def test_log_in_is_five_a_minute_by_name_wherever_it_comes_from(api):
    api.person()
    spellings = ["anna", "Anna", "ANNA ", "anna", "\uff41nna", "anna"]
    statuses = [login(api, name, f"198.51.100.{n}").status_code
                for n, name in enumerate(spellings)]
    assert statuses == [401] * 5 + [429]
    assert api.login(address="198.51.100.99").status_code == 429  # the right password too


def test_log_in_is_five_a_minute_by_address_whatever_the_name(api):
    statuses = [login(api, f"nobody{n}", "198.51.100.9").status_code for n in range(6)]
    assert statuses == [401] * 5 + [429]


def test_an_operator_opens_a_name_that_was_locked(api):
    from django.core.management import call_command

    api.person()
    for n in range(6):
        login(api, "anna", f"198.51.100.{n}")
    assert api.login(address="203.0.113.9").status_code == 429
    call_command("pawl_reset", "login_name", "anna", verbosity=0)
    assert api.login(address="203.0.113.9").status_code == 200


def test_a_refused_log_in_charges_neither_name_nor_address(api):
    api.person("bert")
    for n in range(6):
        login(api, "anna", f"198.51.100.{n}")
    for _ in range(20):  # all refused by the name: nothing is left behind at this address
        assert login(api, "anna", "203.0.113.77").status_code == 429
    assert api.login("bert", address="203.0.113.77").status_code == 200


def test_failed_tries_are_counted_apart_and_right_ones_are_given_back(api, settings):
    rates(settings, failed_login="3/hour", login_name="100/minute", login_address="100/minute")
    api.person()
    assert [api.login().status_code for _ in range(5)] == [200] * 5
    assert [login(api, "anna", "203.0.113.1").status_code for _ in range(4)] == [401] * 3 + [429]
    assert api.login().status_code == 429


def test_failed_tries_at_the_same_time_are_not_more(api, settings):
    """The charge comes before the password is looked at."""
    from pawl.django.logins import TooManyAttempts, failed_login_limit

    class Request:
        META = {"REMOTE_ADDR": "198.51.100.1"}

    def attempt(_):
        try:
            with failed_login_limit(Request(), "anna", rates="3/hour") as one:
                one.failed()
                return True
        except TooManyAttempts:
            return False
    assert sum(rig.in_parallel(16, attempt)) == 3


def test_the_log_in_page_counts_in_the_records_of_the_api(api):
    api.person()
    from django.test import Client
    for n in range(5):
        login(api, "anna", f"198.51.100.{n}")
    page = Client().post("/auth/session/", {"username": "Anna", "password": "wrong"},
                         HTTP_X_FORWARDED_FOR="198.51.100.50")
    assert page.status_code == 429
    assert page.json()["code"] == "throttled"


def test_sign_up_is_three_an_hour_by_address(api):
    made = [api.ask("POST", "/auth/signup/", {
        "username": f"new{n}", "email": f"new{n}@example.org", "password": "correct horse battery"})
        for n in range(4)]
    assert [one.status_code for one in made] == [201, 201, 201, 429]
    assert 3000 < int(made[3]["Retry-After"]) <= 3600


def test_a_password_reset_is_three_an_hour_by_address(api):
    statuses = [api.status("POST", "/auth/password/reset/", {"email": f"x{n}@example.org"})
                for n in range(4)]
    assert statuses == [202, 202, 202, 429]


def policies(answer):
    return dict(part.split(";", 1) for part in answer["RateLimit-Policy"].split(", "))


def test_strangers_have_a_hundred_an_hour_by_address(api, settings):
    rates(settings, burst="1000/minute", sustained="1000/day")
    statuses = [api.status("GET", "/reviews/", address="198.51.100.1") for _ in range(101)]
    assert statuses == [200] * 100 + [429]
    assert api.status("GET", "/reviews/", address="198.51.100.2") == 200


def test_users_have_a_thousand_an_hour_wherever_they_are(api, settings):
    access = api.bearer()
    assert policies(api.me(access))['"user"'].startswith("q=1000;w=3600")
    rates(settings, user="4/hour")  # one was used above
    statuses = [api.status("GET", "/me/", bearer=access, address=f"198.51.100.{n}")
                for n in range(4)]
    assert statuses == [200] * 3 + [429]


def test_a_plan_has_a_thousand_and_all_others_fall_through_to_a_hundred(api, settings):
    plain, premium = api.bearer("anna"), api.bearer("cleo", is_premium=True)
    told = [policies(api.ask("GET", "/documents/", bearer=one)) for one in (plain, premium)]
    assert told[0]['"default"'].startswith("q=100;w=3600") and '"premium"' not in told[0]
    assert told[1]['"premium"'].startswith("q=1000;w=3600") and '"default"' not in told[1]
    rates(settings, default="3/hour", premium="5/hour")
    statuses = [[api.status("GET", "/documents/", bearer=one) for _ in range(6)]
                for one in (plain, premium)]  # one of each was used above
    assert statuses == [[200] * 2 + [429] * 4, [200] * 4 + [429] * 2]


def test_burst_and_sustained_hold_together(api, settings):
    access = api.bearer()
    statuses = [api.me(access).status_code for _ in range(62)]
    assert statuses == [200] * 60 + [429] * 2
    told = policies(api.me(access))
    assert told['"burst"'].startswith("q=60;w=60")
    assert told['"sustained"'].startswith("q=1000;w=86400")
    rates(settings, sustained="3/day", burst="100/minute")
    other = api.bearer("bert")
    assert [api.me(other).status_code for _ in range(4)] == [200] * 3 + [429]


def test_a_plain_view_is_limited_by_address_and_method(api):
    def post(address):
        return api.ask("POST", "/contact/", {}, address=address)
    answers = [post("198.51.100.1") for _ in range(6)]
    assert [one.status_code for one in answers] == [202] * 5 + [429]
    assert (answers[5].json()["code"], "Retry-After" in answers[5]) == ("throttled", True)
    assert post("198.51.100.2").status_code == 202
    assert api.status("GET", "/contact/", address="198.51.100.3") == 405


def test_a_decorator_may_note_and_not_refuse(api):
    answers = [api.ask("POST", "/webhooks/incoming/", {"event": "paid"}) for _ in range(6)]
    assert [one.json()["queue"] for one in answers] == ["fast"] * 5 + ["slow"]


def test_what_a_stranger_writes_into_forwarded_for_does_not_count(api):
    statuses = [login(api, f"nobody{n}", f"10.0.0.{n}, 198.51.100.9").status_code
                for n in range(6)]
    assert statuses == [401] * 5 + [429]


def test_ipv6_is_counted_by_its_64(api):
    def login_from(address):
        return login(api, address, address).status_code
    assert [login_from(f"2001:db8::{n}") for n in range(6)] == [401] * 5 + [429]
    assert login_from("2001:db8:0:1::1") == 401


@pytest.mark.parametrize("path", ["/me/", "/documents/", "/products/"])
def test_every_answer_of_a_limited_view_says_what_is_left(api, path):
    answer = api.ask("GET", path, bearer=api.bearer())
    for name in ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "RateLimit",
                 "RateLimit-Policy"):
        assert answer[name], name


def test_refusals_say_when_to_come_again(api):
    for n in range(5):
        login(api, "anna", "198.51.100.1")
    answer = login(api, "anna", "198.51.100.1")
    assert answer.status_code == 429
    assert 0 < int(answer["Retry-After"]) <= 60
    assert answer["X-RateLimit-Remaining"] == "0"
    assert answer["RateLimit"]


def test_oauth_endpoints_are_limited_too(api):
    api.application()
    answer = api.oauth("token", {"grant_type": "client_credentials", "scope": "read"})
    assert policies(answer)['"oauth"'].startswith("q=60;w=60")
