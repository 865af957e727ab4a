"""The console in a real browser: what it shows, and that nothing from outside gets into it."""

import json
import re
import urllib.request

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from conftest import ROOT, wait_for

PAGE = ROOT / "daemon" / "ops" / "http" / "console.html"
HOSTILE = "<img src=x onerror=\"document.title='owned'\">"
CONFIG = """
http: "127.0.0.1:0"
limits:
  login: {rate: 2/hour}
  canary: {rate: 1/hour, shadow: true}
"""


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                     "--window-size=1300,1100"):
        options.add_argument(argument)
    options.binary_location = "/usr/bin/chromium"
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
    yield driver
    driver.quit()


@pytest.fixture
def console(make_daemon):
    daemon = make_daemon(config=CONFIG)
    port = wait_for(lambda: daemon.event("http_listening"), "the HTTP port")["port"]
    daemon.console = f"http://127.0.0.1:{port}/console"
    return daemon


def texts(browser, selector):
    return [one.text for one in browser.find_elements(By.CSS_SELECTOR, selector)]


def table(browser, name):
    return [[cell.text for cell in row.find_elements(By.TAG_NAME, "td")]
            for row in browser.find_elements(By.CSS_SELECTOR, f"#{name} tbody tr")]


def tile(browser, name):
    return browser.execute_script(
        "const one = [...document.querySelectorAll('.tile')].find((e) => e.dataset.name === "
        "arguments[0]); return one ? one.querySelector('b').textContent : null;", name)


def steady(read):
    """What @read gives, once the page is not being redrawn under it."""
    from selenium.common.exceptions import StaleElementReferenceException

    def attempt():
        try:
            return read()
        except StaleElementReferenceException:
            return None
    return wait_for(attempt, "the page")


def test_limits_denied_keys_and_revocations_appear_as_they_happen(browser, console):
    browser.get(console.console)
    steady(lambda: texts(browser, "#state") == ["serving"])
    for _ in range(5):
        console.ctl("check", "login=somebody@example.org")
        console.ctl("check", "canary=somebody@example.org")
    console.ctl("revoke", "subject", "--sub", "subject-one", "--reason", "compromised", check=0)
    row = steady(lambda: next((row for row in table(browser, "limits")
                               if row[0] == "login" and row[4:6] == ["2", "3"]), None))
    assert row[1] == "default"
    canary = steady(lambda: next((row for row in table(browser, "limits") if row[0] == "canary"),
                                 None))
    assert canary[4:7] == ["1", "0", "4"]
    key = steady(lambda: next((row for row in table(browser, "keys") if row[1] == "login"), None))
    assert re.fullmatch(r"so\*\*\*[0-9a-f]{8}", key[0]) and key[2] == "3"
    event = steady(lambda: next(iter(table(browser, "events")), None))
    assert event[1] == "subject" and event[3] == "compromised"
    assert "subject-one" not in browser.page_source
    assert "somebody@example.org" not in browser.page_source
    assert tile(browser, "revocations held") == "1"
    assert "MiB" in tile(browser, "memory of the tables")
    steady(lambda: len(browser.find_elements(By.CSS_SELECTOR, "#limits polyline")) >= 4)


def test_charts_move_while_decisions_are_made(browser, console):
    browser.get(console.console)
    steady(lambda: texts(browser, "#state") == ["serving"])
    console.ctl("bench", "--rate", "1000000/minute", "--requests", "20000", check=0)

    def risen():
        text = (texts(browser, "#decisions-top") or [""])[0]
        return re.fullmatch(r"up to .*[1-9].*", text)
    steady(risen)
    assert steady(lambda: re.search(r"[1-9]", (texts(browser, "#latency-top") or [""])[0]))


def test_nothing_that_a_key_or_subject_says_becomes_markup(browser, console):
    for _ in range(4):
        console.ctl("check", "login=" + HOSTILE)
    console.ctl("revoke", "subject", "--sub", HOSTILE, check=0)
    browser.get(console.console)
    steady(lambda: len(table(browser, "events")) == 1)
    assert browser.title == "pawl"
    assert browser.find_elements(By.TAG_NAME, "img") == []


def test_the_page_loads_nothing_but_itself_and_breaks_no_rule(browser, console):
    browser.get_log("performance")
    browser.get_log("browser")
    browser.get(console.console)
    steady(lambda: texts(browser, "#state") == ["serving"])
    asked = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = {one["params"]["request"]["url"] for one in asked
            if one["method"] == "Network.requestWillBeSent"}
    outside = {url for url in urls if not url.startswith(console.console.rsplit("/", 1)[0] + "/")
               and not url.startswith("data:")}
    assert urls and not outside
    complaints = [entry for entry in browser.get_log("browser")
                  if "favicon" not in entry["message"]]
    assert not complaints


def test_the_page_says_when_the_daemon_is_gone(browser, console):
    browser.get(console.console)
    steady(lambda: texts(browser, "#state") == ["serving"])
    console.stop()
    steady(lambda: texts(browser, "#state") == ["not reached"])


def test_the_policy_names_script_and_style_by_hash_alone(console):
    with urllib.request.urlopen(console.console) as answer:
        policy = answer.headers["Content-Security-Policy"]
        body = answer.read()
    assert body == PAGE.read_bytes()
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert policy.count("'sha256-") == 2
    assert not re.search(rb"(src|href)\s*=\s*[\"']?(https?:)?//", body)


def test_it_can_be_turned_off(make_daemon):
    daemon = make_daemon(config=CONFIG + "http_console: false\n")
    port = wait_for(lambda: daemon.event("http_listening"), "the HTTP port")["port"]
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/console")
    assert refused.value.code == 404
