#!/usr/bin/python3
"""How many a limit admits: Django REST Framework's own throttle, and pawl's, in the same app.

The app runs under gunicorn with 4 workers of 8 threads, its cache is Redis, and wrk asks with 32
connections from one address, 6 s for each row. Prints a table, and as JSON with --json.
"""

import argparse
import json
import pathlib
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path[:0] = [str(HERE), str(ROOT / "tests" / "python")]

import rig  # noqa: E402
import servers  # noqa: E402


def race(seconds=6, workers=4, threads=8, connections=32, rates=(100, 1000), pawl="{}"):
    """A row {rate, stock, pawl, answers} for each rate. @pawl: settings, as JSON."""
    rig.use_package()
    rows = []
    for rate in rates:
        with tempfile.TemporaryDirectory(prefix="pawl-race-") as folder:
            daemon = rig.Daemon(folder).start()
            try:
                with servers.redis_server(folder) as redis:
                    env = servers.environment(folder, daemon.unix, redis, pawl)
                    with servers.gunicorn(folder, env, workers, threads) as site:
                        row = {"rate": f"{rate}/min"}
                        # Every worker has loaded everything before the clock runs.
                        servers.load_until(site, "/plain/", 8 * workers, connections)
                        for name in ("stock", "pawl"):
                            answers, admitted, errors = servers.load(
                                f"{site.url}/{name}{rate}/", seconds, connections)
                            row[name] = admitted
                            row[f"{name}_answers"] = answers
                            if errors:
                                raise SystemExit(f"{name}{rate}: socket errors: {errors}")
                        rows.append(row)
            finally:
                daemon.kill()
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seconds", type=int, default=6)
    options = parser.parse_args()
    rows = race(options.seconds)
    if options.json:
        print(json.dumps(rows))
        return
    print(f"{'rate':>10} {'stock admits':>14} {'pawl admits':>13}   "
          f"gunicorn, 4 workers x 8 threads, wrk with 32 connections, {options.seconds} s")
    for row in rows:
        print(f"{row['rate']:>10} {row['stock']:>14} {row['pawl']:>13}   "
              f"of {row['stock_answers']} and {row['pawl_answers']} requests")


if __name__ == "__main__":
    main()
