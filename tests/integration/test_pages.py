"""The manual pages: well formed, and nothing that a program knows is missing from its page."""

import re
import subprocess
import sys

import pytest

from conftest import BUILD, ROOT

MAN = ROOT / "deploy" / "man"


def run(*command):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True,
                          text=True).stdout


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """name -> the file, made as the build makes it."""
    folder = tmp_path_factory.mktemp("man")
    make = [sys.executable, MAN / "make_page.py"]
    texts = {
        "pawld.8": (MAN / "pawld.8").read_text(),
        "pawld.yaml.5": run(BUILD / "pawld", "--print-config=man"),
        "pawlctl.1": run(*make, MAN / "pawlctl.1.in", "--pawlctl", BUILD / "pawlctl"),
        "libpawl.3": run(*make, MAN / "libpawl.3.in", "--header",
                         ROOT / "client/include/pawl/pawl.h"),
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    return {name: folder / name for name in texts}


def plain(page):
    """The page as a reader sees it, in one line, with the hyphens that people type."""
    done = subprocess.run(["mandoc", "-T", "utf8", "-O", "width=1000", page], check=True,
                          capture_output=True, text=True)
    text = re.sub(r".\x08", "", done.stdout)
    return " ".join(text.replace("\N{HYPHEN}", "-").replace("\N{MINUS SIGN}", "-").split())


@pytest.mark.parametrize("name", ["pawld.8", "pawld.yaml.5", "pawlctl.1", "libpawl.3"])
def test_a_page_has_no_fault_that_mandoc_or_man_knows(pages, name):
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", pages[name]],
                          capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
    done = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", pages[name]],
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_page_with_a_fault_is_noticed(pages, tmp_path):
    bad = tmp_path / "bad.8"
    bad.write_text(pages["pawld.8"].read_text() + ".El\n")
    assert subprocess.run(["mandoc", "-T", "lint", "-W", "warning", bad],
                          stdout=subprocess.DEVNULL).returncode != 0


def test_every_option_of_pawld_is_on_its_page(pages):
    shown = plain(pages["pawld.8"])
    options = set(re.findall(r"^  (--[a-z-]+)", run(BUILD / "pawld", "--help"), re.M))
    assert len(options) >= 11
    assert [option for option in sorted(options) if option not in shown] == []


def test_every_setting_is_on_the_page_of_settings(pages):
    shown = plain(pages["pawld.yaml.5"])
    rows = re.findall(r"^\| `([^`]+)` \|", run(BUILD / "pawld", "--print-config=reference"), re.M)
    assert len(rows) >= 100
    missing = [row for row in rows
               if not re.search(rf"(^| ){re.escape(row)} \((reload|restart)\)", shown)]
    assert missing == []


def test_every_command_of_pawlctl_and_its_options_are_on_its_page(pages):
    table = (ROOT / "client/ctl/options_table.c").read_text()
    commands = re.findall(r'\{ COMMAND_\w+, "([a-z ]+)"', table)
    assert len(commands) >= 20
    shown = plain(pages["pawlctl.1"])
    missing = []
    for command in commands:
        if f" {command} " not in shown:
            missing.append(command)
        for option in re.findall(r"^  (--[a-z-]+)", run(BUILD / "pawlctl", "help",
                                                        *command.split()), re.M):
            if option not in shown:
                missing.append(f"{command} {option}")
    assert missing == []


def test_every_function_of_libpawl_is_on_its_page(pages):
    shown = plain(pages["libpawl.3"])
    exported = re.findall(r"^\s+(pawl_\w+);", (ROOT / "client/src/libpawl.map").read_text(), re.M)
    assert len(exported) > 50
    assert [name for name in exported if f"{name}(" not in shown] == []
