"""The layering check: includes point one way, and the core's archive asks the world for nothing.

    layering.py BUILD_DIR              check
    layering.py --self-test BUILD_DIR  prove that the check can go red

Include paths alone do not guard (uv.h is on the system's path), so the undefined symbols of the
core archive are held against an allow-list too.
"""

import argparse
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

# folder -> what its files may include, by the first part of the path
MAY_INCLUDE = {
    "daemon/core": {"core"},
    "daemon/port": {"core", "port"},
    "daemon/adapter/sqlite": {"core", "port", "adapter/sqlite", "adapter/sys"},
    "daemon/adapter/sys": {"core", "port", "adapter/sys"},
    "daemon/adapter/yaml": {"core", "port", "adapter/yaml"},
    "daemon/adapter/jwt": {"core", "port", "ops", "adapter/jwt", "adapter/sys"},
    "daemon/adapter/tls": {"core", "port", "adapter/tls"},
    "daemon/adapter/redis": {"core", "port", "adapter/redis"},
    "daemon/ops": {"core", "port", "ops", "pawl"},
    "daemon/ops/http": {"core", "port", "ops", "pawl"}, # asks as any client does: libpawl's header
    "daemon/edge": {"core", "port", "ops", "edge", "pawl"},
    "proto/pawl/v1": {"core", "pawl"},
    "client/src": {"core", "port", "pawl", "src", "adapter/tls"}, # TLS is the one adapter shared
    "client/ctl": {"core", "pawl", "ctl", "adapter/jwt", "adapter/tls"}, # token mint; load over TLS
    "client/python/native": {"pawl", "native"}, # as any program over libpawl's header
}

# A third-party header appears in one folder only (per side: daemon and client are two programs).
THIRD_PARTY = {
    "sodium.h": ["daemon/core/keyhash.c"],
    "uv.h": ["daemon/edge/", "client/include/pawl/uv.h", "client/examples/", "tests/"],
    "sqlite3.h": ["daemon/adapter/sqlite/", "tests/"],
    "yaml.h": ["daemon/adapter/yaml/"],
    "jansson.h": ["client/ctl/", "daemon/adapter/jwt/", "tests/"],
    "jwt.h": ["daemon/adapter/jwt/", "tests/"],
    "microhttpd.h": ["daemon/ops/http/"],
    "seccomp.h": ["daemon/adapter/sys/"],
    "Python.h": ["client/python/native/"],
    "hiredis/hiredis.h": ["daemon/adapter/redis/", "tests/"],
    "hiredis/read.h": ["daemon/adapter/redis/", "tests/"],
    "protobuf-c/protobuf-c.h": ["proto/", "tests/"],
}

# What the core may ask of the outside: copying, comparing, formatting error texts, its own locks,
# 128-bit division, and the keyed hashes. Nothing that reads a clock, a file, a socket, randomness or the heap.
ALLOWED = re.compile(
    r"^(mem(cpy|move|set|cmp|chr)|strlen|strnlen|strcmp|strncmp|strchr|"
    r"__(mem(cpy|move|set)|v?snprintf)_chk|v?snprintf|__stack_chk_fail|abort|"
    r"pthread_mutex_(init|lock|trylock|unlock|destroy)|"
    r"__u(div|mod|divmod)ti[34]|__popcountdi2|"  # 128-bit division, counting of bits: of the compiler
    r"crypto_(shorthash_siphashx?24|generichash|hash_sha256)|sodium_(memcmp|memzero)|"
    r"_GLOBAL_OFFSET_TABLE_)$")


def folder_of(path):
    return max((folder for folder in MAY_INCLUDE if str(path).startswith(folder + "/")),
               key=len, default=None)


def include_faults(root):
    faults = []
    for path in sorted(root.glob("**/*.[ch]")):
        name = path.relative_to(root)
        if name.parts[0] in ("build", ".git"):
            continue
        folder = folder_of(name)
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            found = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
            if not found:
                continue
            quoted, target = found.group(1) == '"', found.group(2)
            for header, homes in THIRD_PARTY.items():
                if target == header and not any(str(name).startswith(home) for home in homes):
                    faults.append(f"{name}:{number}: {header} belongs to {', '.join(homes)}")
            if folder is None or not quoted or "/" not in target:
                continue
            if not any(target.startswith(part + "/") for part in MAY_INCLUDE[folder]):
                faults.append(f"{name}:{number}: {folder} may not include {target}")
    return faults


def undefined_symbols(archive):
    """Symbols that no member of the archive defines."""
    wanted, defined = set(), set()
    output = subprocess.run(["nm", "-g", str(archive)], check=True, capture_output=True, text=True)
    for line in output.stdout.splitlines():
        parts = line.split()
        if len(parts) == 2 and parts[0] in "Uw":
            wanted.add(parts[1])
        elif len(parts) == 3:
            defined.add(parts[2])
    return wanted - defined


def symbol_faults(symbols):
    return [f"daemon/core asks for {name}: not on the allow-list"
            for name in sorted(symbols) if not ALLOWED.match(name)]


def self_test(build):
    """Both halves must object to a planted fault."""
    if not symbol_faults(undefined_symbols(build / "daemon" / "libpawl_core.a") | {"uv_hrtime"}):
        return ["the symbol check does not notice uv_hrtime"]
    import tempfile
    with tempfile.TemporaryDirectory(prefix="pawl-layering-") as scratch:
        root = pathlib.Path(scratch)
        (root / "daemon/core").mkdir(parents=True)
        (root / "daemon/core/bad.c").write_text('#include "edge/server.h"\n#include <uv.h>\n')
        if len(include_faults(root)) != 2:
            return ["the include check does not notice edge/server.h and uv.h in the core"]
    return []


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--self-test", action="store_true")
    parser.add_argument("build", type=pathlib.Path)
    arguments = parser.parse_args()
    if arguments.self_test:
        faults = self_test(arguments.build)
    else:
        faults = include_faults(ROOT)
        faults += symbol_faults(undefined_symbols(arguments.build / "daemon" / "libpawl_core.a"))
    print("\n".join(faults) or "layering: clean")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
