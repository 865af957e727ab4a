"""What the documents promise of each other: links that lead somewhere, a section for each alert, the
same three commands everywhere. What single documents say is tested beside what they speak of.
"""

import math
import re
import subprocess

import pytest
import yaml

from conftest import ROOT

DEPLOY = ROOT / "deploy"
TOP = ROOT / "README.md"
ENTRY = DEPLOY / "README.md"
RUNBOOK = DEPLOY / "RUNBOOK.md"
ALERTS = DEPLOY / "prometheus" / "alerts.yaml"
#: What stands alone where there is a service manager: says nothing to who has a cluster.
OF_A_MACHINE = re.compile(r"`(?:systemctl|journalctl|iostat|df|ss|redis-cli|chronyc)\b")


def documents():
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True)
    found = sorted(ROOT / name for name in listed.stdout.split()) if listed.returncode == 0 else []
    return found or sorted([*ROOT.glob("*.md"), *DEPLOY.rglob("*.md")])


def anchors(path):
    """As GitHub makes them of headings."""
    found = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in found}


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    text = re.sub(r"```.*?```", "", path.read_text("utf-8"), flags=re.S)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), f"{path.name}: {link} leads nowhere"
        if anchor:
            assert anchor in anchors(target), f"{path.name}: {link} names no heading"


def alerts():
    return re.findall(r"- alert: (\w+)\n(.*?)(?=\n      - alert:|\Z)", ALERTS.read_text(), re.S)


def sections():
    return dict(re.findall(r"^### (\w+)\n(.*?)(?=^### |\Z)", RUNBOOK.read_text(), re.S | re.M))


@pytest.mark.parametrize("alert, rule", alerts(), ids=[name for name, _ in alerts()])
def test_an_alert_says_what_it_means_and_what_to_do(alert, rule):
    said = sections().get(alert, "")
    means, *rest = said.strip().split("\n\n")
    assert len(means) > 40, f"{alert}: what does it mean?"
    assert len("".join(rest)) > 40, f"{alert}: what to do?"
    if OF_A_MACHINE.search(said):
        assert "ubernetes" in said or "kubectl" in said, f"{alert}: and in a cluster?"
    assert f"runbook: deploy/RUNBOOK.md#{alert.lower()}" in rule


def test_the_runbook_has_no_section_of_an_alert_that_is_gone():
    assert set(sections()) == {name for name, _ in alerts()}


def test_the_entry_names_every_alert_that_wakes_somebody():
    said = ENTRY.read_text()
    section = said[said.index("## What to alert on"):].split("\n## ")[0].partition("Of the warnings")[0]
    critical = {name for name, rule in alerts() if "severity: critical" in rule}
    assert set(re.findall(r"`(Pawl\w+)`", section)) == critical


@pytest.mark.parametrize("what", [
    "choose a mode", "how much memory", "choose and set up the engine", "upgrade, and back",
    "change the root secret", "to back up, to restore", "what to alert on", "an alert has fired"])
def test_a_stranger_finds_it_at_the_head_of_the_entry(what):
    """In the first table, in a row that links to it."""
    table = ENTRY.read_text().split("\n## ")[0]
    row = next((line for line in table.splitlines() if what in line), "")
    assert "](" in row, f"deploy/README.md does not lead to: {what}"


def commands(text):
    """The console lines of the first block that installs the chart, without comments."""
    for block in re.findall(r"```console\n(.*?)```", text, re.S):
        if "helm" in block and "install" in block:
            return [re.sub(r"\s+#.*", "", line[2:]) for line in block.splitlines()
                    if line.startswith("$ ")]
    return []


def test_three_commands_lead_to_a_fleet_and_are_the_same_everywhere():
    first = commands(TOP.read_text())
    assert len(first) == 3 and first == commands((DEPLOY / "KUBERNETES.md").read_text())
    for line in first: # what they name is in the tree
        for name in re.findall(r"\bdeploy/[\w/.-]+", line):
            assert (ROOT / name).exists(), name


# ---- SIZING.md -----------------------------------------------------------------------------------

SIZING = DEPLOY / "SIZING.md"
UNITS = {"B": 1, "MB": 10 ** 6, "GB": 10 ** 9, "MiB": 1 << 20, "Mi": 1 << 20, "GiB": 1 << 30,
         "Gi": 1 << 30}
MEMBER = 64 * 10 ** 6 # the program itself
LEASES = 65536 * 264
BUFFERS = 128 << 20


def row(name):
    """The numbers of the row that begins with @name, in bytes where there is a unit."""
    line = next(line for line in SIZING.read_text().splitlines() if line.startswith(f"| {name}"))
    return [float(number.replace(",", "")) * UNITS.get(unit, 1) for number, unit in
            re.findall(r"\| (?:.*?: )?([\d.,]+) ?([A-Za-z]*)", line.partition(name)[2])]


def bytes_of(text):
    return int(re.match(r"\d+", str(text))[0]) * UNITS[re.sub(r"\d", "", str(text))]


def member_bytes(memory_max, revocations_max, buffers_max=BUFFERS):
    return memory_max + revocations_max * row("a revocation, a cutoff, a login")[1] + buffers_max + \
        LEASES + MEMBER


def test_what_pawld_warns_by_is_what_the_document_says():
    text = (ROOT / "daemon" / "room.c").read_text()
    table, log = (int(number) for number in re.findall(r"_BYTES +UINT64_C\((\d+)\)", text))
    assert row("a revocation, a cutoff, a login")[:2] == [table, table + log]


def test_the_example_follows_from_the_formulas():
    day = 500_000
    facts = [round(day * (days + 1 / 24)) for days in (30, 7)] + [round(day * 2 / 24)]
    assert row("facts") == facts
    room = [round(count * 1.25) for count in facts]
    assert row("`config.revocations_max`") == room
    keys = 400 << 20 # two members have the keys of the third one, too
    assert keys >= row("... 64 hits or more")[1] * 2_000_000 / 2
    assert row("`config.memory_max`") == [keys] * 3
    assert row("memory of a member") == [round(member_bytes(keys, one) / 10 ** 6) * 10 ** 6
                                         for one in room]
    disk = row("on disk: a revocation")[1]
    assert row("volume") == [math.ceil(one * disk * 3 / 10 ** 9 + 1) * 10 ** 9 for one in facts]
    logins = [day * days for days in (60, 14, 60)]
    assert row("logins in the engine") == logins
    fact, login, key = (row(name)[0] for name in ("one revocation or cutoff", "one login",
                                                  "one live key"))
    assert row("`maxmemory` of the engine") == [
        math.ceil((one * fact + many * login + 2_000_000 * key) * 1.25 / 10 ** 9) * 10 ** 9
        for one, many in zip(facts, logins)]
    values = yaml.safe_load(re.search(r"```yaml\n(.*?)```", SIZING.read_text(), re.S)[1])
    assert values["config"]["revocations_max"] == room[1]
    assert bytes_of(values["config"]["memory_max"]) == keys
    assert bytes_of(values["resources"]["limits"]["memory"]) >= member_bytes(keys, room[1])


@pytest.mark.parametrize("path", ["values.yaml", *(
    str(path.relative_to(DEPLOY / "helm" / "pawl"))
    for path in (DEPLOY / "helm" / "pawl" / "examples").glob("values-*.yaml"))])
def test_full_tables_fit_in_the_charts_limits(path):
    def merged(base, over):
        return {**base, **{name: merged(base.get(name, {}), value)
                           if isinstance(value, dict) and isinstance(base.get(name), dict)
                           else value for name, value in over.items()}}
    chart = DEPLOY / "helm" / "pawl"
    values = merged(yaml.safe_load((chart / "values.yaml").read_text()),
                    yaml.safe_load((chart / path).read_text()))
    config, resources = values["config"], values["resources"]
    full = member_bytes(bytes_of(config["memory_max"]), config["revocations_max"],
                        bytes_of(config["server"]["buffers_max"]))
    assert full <= bytes_of(resources["limits"]["memory"])
    disk = row("on disk: a revocation")[1] * config["revocations_max"] * 3 + 10 ** 9
    assert disk <= bytes_of(values["persistence"]["size"])
