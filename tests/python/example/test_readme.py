"""The README's table: every file, symbol and test that it names is there."""

import ast
import re

import pytest
from conftest import EXAMPLE, HERE

TEXT = (EXAMPLE / "README.md").read_text("utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split(" | ")]
        for line in TEXT.splitlines() if line.startswith("| ") and "---" not in line][1:]
FULL = [row for row in ROWS if any(re.search("[a-z]", cell) for cell in row[1:])]


def names_of(path):
    """The names that a module makes, and Class.method of its classes."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{one.name}" for one in node.body
                      if isinstance(one, ast.FunctionDef)}
        if isinstance(node, ast.Assign):
            for target in node.targets:
                found |= {one.id for one in ast.walk(target) if isinstance(one, ast.Name)}
    return found


def test_the_table_has_every_concern():
    headings = {row[0].strip("*") for row in ROWS if row[0].startswith("**")}
    assert headings == {"Who are you", "May you", "How fast", "What comes in", "Browsers",
                        "What is kept", "What is seen", "Errors"}
    assert len(FULL) == 34
    assert all(len(row) == 5 and all(row) for row in FULL), FULL


@pytest.mark.parametrize("row", FULL, ids=lambda row: row[0])
def test_what_a_row_names_is_there(row):
    places = re.findall(r"`([^`:]+\.py):([A-Za-z0-9_.]+)`", row[3])
    tests = re.findall(r"`(test_\w+\.py)::(test_\w+)`", row[4])
    assert places and tests
    assert "`" not in re.sub(r"`[^`]+\.py:[A-Za-z0-9_.]+`", "", row[3])
    assert "`" not in re.sub(r"`test_\w+\.py::test_\w+`", "", row[4])
    for folder, found in ((EXAMPLE, places), (HERE, tests)):
        for name, symbol in found:
            assert symbol in names_of(folder / name), f"{name}: {symbol}"


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (EXAMPLE / target).resolve().exists(), target


def test_the_variables_of_the_environment_are_those_that_the_settings_read():
    settings = (EXAMPLE / "project" / "settings.py").read_text("utf-8")
    head, code = settings.split('"""', 2)[1:]
    used = set(re.findall(r"EXAMPLE_[A-Z_]+", code))
    assert used == set(re.findall(r"^(EXAMPLE_[A-Z_]+)", head, re.MULTILINE))
    assert set(re.findall(r"EXAMPLE_[A-Z]+_[A-Z_]+", TEXT)) <= used


def test_nothing_here_names_the_machine_that_it_was_written_on():
    for path in EXAMPLE.rglob("*"):
        if path.is_file() and path.suffix in (".py", ".md", ".yaml", ".html"):
            text = path.read_text("utf-8")
            assert not re.search(r"/root/|/work/|/home/|BEGIN [A-Z ]*PRIVATE", text), path
