"""pawlctl on the kinds of limits beyond the sliding window, reservations and top."""

import pytest

CONFIG = """
limits:
  jobs:    {rate: 3/10m, algorithm: concurrency}
  burst:   {rate: 1/hour, algorithm: gcra, burst: 4}
  month:   {rate: 2/month, algorithm: calendar, zone: Europe/Berlin, anchor_day: 15}
  tokens:  {rate: 1000/hour}
  canary:  {rate: 1/hour, shadow: true}
  api:     {rate: 2/hour, overrides: {big: 5/hour}, bypass: [health, "probe-*"]}
"""


@pytest.fixture
def limited(make_daemon):
    return make_daemon(config=CONFIG)


def verdicts(daemon, count, *arguments):
    return [daemon.ctl("check", *arguments).json["verdict"] == "allow" for _ in range(count)]


def test_slots_are_taken_and_released_by_their_charge(limited):
    answers = [limited.ctl("check", "jobs=j") for _ in range(4)]
    assert [answer.code for answer in answers] == [0, 0, 0, 1]
    charge = answers[1].json["limits"][0]["charge"]
    assert limited.ctl("refund", "--charge", charge, "jobs=j").json["refunded"] == 1
    assert limited.ctl("refund", "--charge", charge, "jobs=j").json["refunded"] == 0
    assert verdicts(limited, 2, "jobs=j") == [True, False]


def test_inline_slots_and_bursts(limited):
    slots = ("--rate", "2/10m", "--algorithm", "concurrency", "k")
    first = limited.ctl("check", *slots).json["limits"][0]["charge"]
    assert verdicts(limited, 2, *slots) == [True, False]
    assert limited.ctl("refund", "--charge", first, *slots).json["refunded"] == 1
    assert verdicts(limited, 2, *slots) == [True, False]
    gcra = ("--rate", "1/hour", "--algorithm", "gcra", "--burst", "3", "k")
    assert verdicts(limited, 4, *gcra) == [True, True, True, False]
    assert limited.ctl("reset", "--rate", "1/hour", "--algorithm", "gcra", "k").json["records"] == 1
    assert verdicts(limited, 1, *gcra) == [True]
    assert limited.ctl("check", "--rate", "1/hour", "--algorithm", "calendar", "k").code == 2


def test_named_kinds(limited):
    assert verdicts(limited, 5, "burst=k") == [True] * 4 + [False]
    assert verdicts(limited, 3, "month=k") == [True, True, False]
    assert " 2/quota " in limited.ctl("peek", "month=k", json_output=False).text
    assert verdicts(limited, 3, "canary=k") == [True] * 3
    assert verdicts(limited, 3, "api=small") == [True, True, False]
    assert verdicts(limited, 6, "api=big") == [True] * 5 + [False]
    assert verdicts(limited, 4, "api=health") == [True] * 4
    answer = limited.ctl("check", "api=probe-7").json["limits"][0]
    assert answer["bypass"] is True and answer["count"] == 0


def test_a_reservation_grants_what_is_left_and_takes_back_what_was_not_used(limited):
    limited.ctl("check", "--cost", "400", "tokens=k", check=0)
    answer = limited.ctl("reserve", "--min", "100", "--max", "900", "tokens=k", check=0).json
    assert answer["verdict"] == "allow" and answer["granted"] == 600
    assert limited.ctl("check", "tokens=k").code == 1
    assert limited.ctl("commit", "--used", "250", answer["lease"], check=0).json["refunded"] == 350
    assert limited.ctl("peek", "tokens=k").json["limits"][0]["remaining"] == 350
    assert limited.ctl("commit", "--used", "250", answer["lease"]).code == 1, "once"
    refused = limited.ctl("reserve", "--min", "351", "tokens=k")
    assert refused.code == 1 and refused.json["granted"] == 0 and refused.json["lease"] is None
    last = limited.ctl("reserve", "--min", "350", "tokens=k", check=0).json
    assert limited.ctl("cancel", last["lease"], check=0).json["refunded"] == 350
    assert limited.ctl("peek", "tokens=k").json["limits"][0]["remaining"] == 350


@pytest.mark.parametrize("arguments,word", [
    (["commit", "--used", "1", "not-a-lease"], "LEASE"),
    (["reserve", "--min", "5", "--max", "3", "tokens=k"], "max"),
    (["reserve", "--lease", "2h", "tokens=k"], "--lease"),
    (["check", "--rate", "1/hour", "--algorithm", "bucket", "k"], "--algorithm"),
])
def test_wrong_usage_is_named(limited, arguments, word):
    result = limited.ctl(*arguments)
    assert result.code == 2 and word in result.error


def test_top_shows_limits_denied_keys_masked_and_revocations(limited):
    verdicts(limited, 6, "api=somebody@example.org")
    verdicts(limited, 3, "canary=k")
    limited.ctl("revoke", "subject", "--sub", "subject-one", check=0)
    top = limited.ctl("top", check=0).json
    figures = {limit["limit"]: limit for limit in top["limits"]}
    assert figures["api"]["allowed"] == 2 and figures["api"]["denied"] == 4
    assert figures["canary"]["allowed"] == 1 and figures["canary"]["shadow_denied"] == 2
    assert any(key["limit"] == "api" and key["denied"] == 4 for key in top["keys"])
    assert any(event["scope"] == "subject" for event in top["revocations"])
    text = limited.ctl("top", json_output=False).text
    assert "api" in text and "subject" in text
    for said in (str(top), text):
        assert "somebody@example.org" not in said and "subject-one" not in said


def test_limits_are_listed_with_their_kind(limited):
    limits = {limit["name"]: limit for limit in limited.ctl("limits", check=0).json["limits"]}
    assert limits["month"]["algorithm"] == "calendar"
    assert limits["month"]["zone"] == "Europe/Berlin" and limits["month"]["anchor_day"] == 15
    assert limits["month"]["rates"][0]["text"] == "2/month"
    assert limits["jobs"]["algorithm"] == "concurrency"
    assert limits["api"]["overrides"] == 1 and limits["api"]["bypass"] == 2
    assert limits["canary"]["shadow"] is True
