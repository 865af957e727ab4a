"""libpawl.so exports what its version script names, and nothing else.

    exports.py build/release/libpawl.so
"""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def main():
    library = sys.argv[1]
    script = (ROOT / "client" / "src" / "libpawl.map").read_text()
    script = re.sub(r"/\*.*?\*/", "", script, flags=re.S)
    wanted = set(re.findall(r"^\s+(pawl_\w+);", script, re.M))
    output = subprocess.run(["nm", "-D", "--defined-only", library], check=True,
                            capture_output=True, text=True).stdout
    found = {line.split()[2].split("@")[0] for line in output.splitlines()
             if line.split()[1] != "A"}
    header = (ROOT / "client" / "include" / "pawl" / "pawl.h").read_text()
    faults = [f"exported, but not in libpawl.map: {name}" for name in sorted(found - wanted)]
    faults += [f"in libpawl.map, but not exported: {name}" for name in sorted(wanted - found)]
    faults += [f"exported, but not in pawl.h: {name}" for name in sorted(found)
               if not re.search(rf"\b{name}\(", header)]
    if not found:
        faults.append("no symbol is exported at all")
    print("\n".join(faults) or f"exports: {len(found)} symbols, clean")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
