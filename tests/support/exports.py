#!/usr/bin/env python3
"""libpawl exports exactly the names of its version script, and each is declared in pawl.h.

    exports.py LIBPAWL_SO SOURCE_DIR

Exits 0 when all three lists agree; else prints what differs.
"""
import pathlib
import re
import subprocess
import sys


def exported(library):
    out = subprocess.run(["nm", "-D", "--defined-only", library], check=True,
                         capture_output=True, text=True).stdout
    names = {}
    for line in out.splitlines():
        name, _, version = line.split()[-1].partition("@@")
        names[name] = version
    return {name: version for name, version in names.items() if name != "PAWL_0.1"}


def main():
    library, source = sys.argv[1], pathlib.Path(sys.argv[2])
    map_text = (source / "client/src/libpawl.map").read_text()
    header = (source / "client/include/pawl/pawl.h").read_text()
    listed = set(re.findall(r"^\s+(pawl_\w+);", map_text, re.M))
    declared = set(re.findall(r"^PAWL_API [^;(]*?\b(pawl_\w+)\(", header, re.M))
    found = exported(library)
    wrong = []
    for title, extra in (("exported, not in libpawl.map", set(found) - listed),
                         ("in libpawl.map, not exported", listed - set(found)),
                         ("in libpawl.map, not in pawl.h", listed - declared),
                         ("in pawl.h, not in libpawl.map", declared - listed),
                         ("without the version PAWL_0.1",
                          {n for n, v in found.items() if not v.startswith("PAWL_")})):
        wrong += [f"{name}: {title}" for name in sorted(extra)]
    print("\n".join(wrong) if wrong else f"{len(found)} symbols, as listed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
