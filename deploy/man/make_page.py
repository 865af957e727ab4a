"""Fill the template of a manual page from the one place that knows: the program, or the header.

    make_page.py pawlctl.1.in --pawlctl PROGRAM > pawlctl.1    commands and options, as help says
    make_page.py libpawl.3.in --header pawl.h > libpawl.3      every function of the library

A line that is @NAME@ in the template is replaced.
"""

import argparse
import pathlib
import re
import subprocess
import sys


def roff(text):
    """@text as a line of roff that is no request and holds no escape."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text[:1] in (".", "'") else text


def argument(text):
    """@text as one argument of a macro: no word of it is a macro's name."""
    return '"' + roff(text).replace('"', '\\(dq') + '"' if text else ""


# ---- pawlctl -----------------------------------------------------------------------------------


def ask(program, *words):
    return subprocess.run([program, "help", *words], check=True, capture_output=True,
                          text=True).stdout


def commands_of(program):
    """[(command, its arguments)] in the order of help."""
    listed = re.search(r"\n\n((?:  \S.*\n)+)", ask(program)).group(1)
    found = []
    for line in listed.splitlines():
        words = line.split()
        name = " ".join(words[:2]) if re.match(r"  (token|family) ", line) else words[0]
        usage = ask(program, *name.split()).splitlines()[0]
        found.append((name, usage.split(name, 1)[1].replace("[options]", "").strip()))
    return found


def options_block(lines):
    """An mdoc list of lines like "  --rate R    inline rates"."""
    out = [".Bl -tag -width Ds -compact"]
    for line in lines:
        flag, value, text = re.fullmatch(r"  --(\S+)(?: ([A-Z][A-Z=]*))?\s+(.*)", line).groups()
        out.append(f".It Fl Fl {roff(flag)}" + (f" Ar {argument(value)}" if value else ""))
        out += prose([text + "."])
    return [*out, ".El"]


def literal(lines):
    return [".Bd -literal -offset indent", *map(roff, lines), ".Ed"]


def prose(lines):
    """Text as it stands; indented lines keep their form."""
    out = []
    table = []
    for line in [*lines, ""]:
        if line.startswith("  "):
            table.append(line[2:])
            continue
        if table:
            out += literal(table)
            table = []
        if line:  # a new sentence is a new line
            out += [roff(each) for each in re.split(r"(?<=\.)  ?(?=\S)", line)]
    return out


def command_section(program, name, arguments):
    lines = ask(program, *name.split()).splitlines()
    sections = {"text": []}
    where = "text"
    for line in lines[1:]:
        if line in ("options:", "with every command:"):
            where = line
            sections[where] = []
        elif line or where == "text":
            sections[where].append(line)
    text = sections["text"]
    out = [f".It Ic {argument(name)}" + (f" Ar {argument(arguments)}" if arguments else ""),
           roff(text[0][:1].upper() + text[0][1:]) + ("" if text[0].endswith("?") else "."),
           *([".Pp"] if any(text[1:]) else []), *prose(text[1:])]
    if sections.get("options:"):
        out += [".Pp", *options_block(sections["options:"])]
    return out


def pawlctl_parts(program):
    commands = []
    for name, arguments in commands_of(program):
        commands += command_section(program, name, arguments)
    shared = re.search(r"with every command:\n((?:  .*\n)+)", ask(program)).group(1)
    return {"COMMANDS": [".Bl -tag -width Ds", *commands, ".El"],
            "OPTIONS": options_block(shared.splitlines())}


# ---- libpawl -----------------------------------------------------------------------------------


def functions_of(header):
    """[(type, name, [argument])] of every exported function."""
    text = re.sub(r"/\*.*?\*/", "", header, flags=re.S)
    found = []
    for kind, name, arguments in re.findall(
            r"^PAWL_API\s+(.*?)\s?(\*?pawl_\w+)\(([^)]*)\)", text, flags=re.M | re.S):
        kind += " *" if name.startswith("*") else ""
        arguments = [" ".join(part.split()) for part in arguments.split(",")]
        found.append((kind, name.lstrip("*"), arguments))
    return found


def libpawl_parts(path):
    out = []
    for kind, name, arguments in functions_of(pathlib.Path(path).read_text("utf-8")):
        out += [f".Ft {argument(kind)}",
                f".Fn {name} " + " ".join(argument(each) for each in arguments)]
    return {"FUNCTIONS": out}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("template")
    parser.add_argument("--pawlctl")
    parser.add_argument("--header")
    asked = parser.parse_args()
    parts = pawlctl_parts(asked.pawlctl) if asked.pawlctl else libpawl_parts(asked.header)
    for line in pathlib.Path(asked.template).read_text("utf-8").splitlines():
        name = re.fullmatch(r"@(\w+)@", line)
        print("\n".join(parts[name.group(1)]) if name else line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
