"""Figures as Prometheus reads them: every one listed, documented, well named, and used rightly by
the alerts and the dashboard."""

import json
import pathlib
import re
import subprocess

import pytest

import web
from conftest import BUILD, ROOT
from web import ask, check

METRICS_PAGE = ROOT / "deploy" / "METRICS.md"
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yaml"
ALERT_TESTS = ROOT / "deploy" / "prometheus" / "alerts_test.yaml"
DASHBOARD = ROOT / "deploy" / "grafana" / "pawl.json"
RUNBOOK = ROOT / "deploy" / "RUNBOOK.md"


def scrape(port):
    answer = ask(port, "/metrics")
    assert answer.code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return answer.body.decode()


def samples(text):
    """name{labels} -> value"""
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            assert name not in found, f"{name} stands twice"
            found[name] = float(value)
    return found


def names_of_page():
    return set(re.findall(r"^\| `([a-z0-9_]+)` \|", METRICS_PAGE.read_text(), re.M))


def names_in(expression):
    """Metrics that an expression names: the endings of a histogram's parts cut off."""
    names = set(re.findall(r"\b(?:pawl|process)_[a-z0-9_]+", expression))
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}


@pytest.fixture
def daemon(make_daemon, tmp_path):
    return web.with_http(make_daemon, tmp_path)


def test_every_figure_is_in_the_table(daemon):
    text = scrape(daemon.http)
    listed = set(re.findall(r"`([a-z0-9_]+)`", METRICS_PAGE.read_text()))
    missing = [name for name in daemon.status() if name not in listed]
    assert missing == [], "figures of status that daemon/ops/http/metrics_table.c does not list"
    assert samples(text)["pawl_unlisted_figures"] == 0


def test_promtool_finds_nothing_to_complain_about(daemon):
    check(daemon.http, limit="login", key="a")
    done = subprocess.run(["promtool", "check", "metrics"], input=scrape(daemon.http), text=True,
                          capture_output=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_page_is_that_of_the_table(daemon):
    text = subprocess.run([str(BUILD / "tests" / "unit_metrics"), "--print"], check=True,
                          capture_output=True, text=True).stdout
    assert text == METRICS_PAGE.read_text(), \
        "write it anew: BUILD/tests/unit_metrics --print > deploy/METRICS.md"
    for sample in samples(scrape(daemon.http)):
        name = sample.partition("{")[0]
        assert {name, re.sub(r"_(bucket|sum|count)$", "", name)} & names_of_page(), sample


def test_figures_of_limits_have_names_and_never_keys(daemon):
    for _ in range(3):
        check(daemon.http, limit="login", key="a-key-nobody-may-see")
    text = scrape(daemon.http)
    found = samples(text)
    assert found['pawl_limit_allowed_total{limit="login",namespace="default"}'] == 2
    assert found['pawl_limit_denied_total{limit="login",namespace="default"}'] == 1
    assert "a-key-nobody" not in text
    assert found['pawl_limiter_decisions_total{verdict="deny"}'] >= 1


def test_figures_of_the_process_are_there_in_the_sandbox_too(daemon):
    found = samples(scrape(daemon.http))
    for name in ("process_resident_memory_bytes", "process_open_fds", "process_max_fds",
                 "process_threads", "process_start_time_seconds", "process_virtual_memory_bytes"):
        assert found[name] > 0, name
    assert found['pawl_build_info{version="0.1.0"}'] == 1


def test_the_time_of_batches_is_a_histogram(daemon):
    for i in range(200):
        assert check(daemon.http, limit="api", key=str(i)).code == 200
    found = samples(scrape(daemon.http))
    buckets = [value for name, value in found.items()
               if name.startswith("pawl_batch_seconds_bucket")]
    assert buckets == sorted(buckets) and buckets[-1] == found["pawl_batch_seconds_count"] > 0
    assert found["pawl_batch_seconds_sum"] > 0


# ---- alerts and dashboard ----

def test_promtool_takes_the_alerts():
    done = subprocess.run(["promtool", "check", "rules", str(ALERTS)], capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_fires_when_it_should_and_only_then():
    done = subprocess.run(["promtool", "test", "rules", ALERT_TESTS.name], capture_output=True,
                          text=True, cwd=ALERT_TESTS.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    tests = ALERT_TESTS.read_text()
    for alert in re.findall(r"- alert: (\w+)", ALERTS.read_text()):
        expected = re.findall(rf"alertname: {alert}\n\s+exp_alerts:(.*)", tests)
        assert any(line.strip() == "[]" for line in expected), f"no test where {alert} is silent"
        assert any(line.strip() == "" for line in expected), f"no test where {alert} fires"


def test_alerts_name_metrics_that_are_there_and_have_a_page_in_the_runbook():
    text = ALERTS.read_text()
    expressions = " ".join(re.findall(r"expr: (.*(?:\n {10,}.*)*)", text))
    assert names_in(expressions) <= names_of_page(), names_in(expressions) - names_of_page()
    runbook = RUNBOOK.read_text()
    for alert in re.findall(r"- alert: (\w+)", text):
        assert f"\n### {alert}\n" in runbook, f"{alert} has no section in deploy/RUNBOOK.md"
        assert f"RUNBOOK.md#{alert.lower()}" in text


def dashboard_expressions():
    dashboard = json.loads(DASHBOARD.read_text())
    return [(panel["title"], target["expr"]) for panel in dashboard["panels"]
            for target in panel.get("targets", [])]


def test_the_dashboard_names_metrics_that_are_there():
    expressions = dashboard_expressions()
    assert len(expressions) >= 12
    shown = set().union(*(names_in(expression) for _, expression in expressions))
    assert {"pawl_members", "pawl_engine_up", "pawl_slots", "pawl_tenure_seconds",
            "pawl_gate_closed_seconds", "pawl_pending_revocations"} <= shown, "the fleet"
    for title, expression in expressions:
        names = names_in(expression)
        assert names and names <= names_of_page(), (title, names - names_of_page())


def test_promtool_takes_the_dashboards_expressions(tmp_path):
    variables = {"$__rate_interval": "5m", "$instance": ".*"}
    rules = ["groups:", "- name: dashboard", "  rules:"]
    for i, (_, expression) in enumerate(dashboard_expressions()):
        for name, value in variables.items():
            expression = expression.replace(name, value)
        assert "$" not in expression, expression
        rules += [f"  - record: dashboard:expression:{i}",
                  f"    expr: {json.dumps(expression)}"]
    path = pathlib.Path(tmp_path) / "rules.yaml"
    path.write_text("\n".join(rules) + "\n")
    done = subprocess.run(["promtool", "check", "rules", str(path)], capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stdout + done.stderr
