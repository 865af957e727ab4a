"""The stock throttle and pawl's in the same app, under load from outside."""

import json

import race

import conftest


def test_pawl_admits_exactly_the_rate_and_the_stock_throttle_does_not():
    rows = race.race(seconds=3, pawl=json.dumps(conftest.PATIENT))
    for row in rows:
        print(f"{row['rate']}: stock admits {row['stock']}, pawl {row['pawl']}")
    assert [row["pawl"] for row in rows] == [100, 1000]
    # The fault that the project is for: if it is gone, the comparison has to be thought over.
    assert rows[0]["stock"] > 100


def test_every_kind_of_server_shares_one_count(daemon, site):
    made = site(daemon.unix, "gunicorn", workers=2, threads=2, preload=True,
                pawl=conftest.PATIENT)
    answers = [made.request("GET", "/pawl100/")[0] for _ in range(60)]
    assert answers == [200] * 60
    address = daemon.ctl("check", "--rate", "100/minute", "--peek", "throttle_pawl100_127.0.0.1")
    assert address.json["limits"][0]["count"] == 60
