"""Ask an advisory service about every locked dependency: `make audit`.

Fails when one has a known vulnerability. A machine that cannot reach the service, or only a
registry that knows no advisories, is told that nothing was audited, and does not fail.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
EXPORT = ["uv", "export", "--quiet", "--frozen", "--no-dev", "--all-extras", "--no-emit-project"]
AUDIT = ["uv", "tool", "run", "--quiet", "pip-audit", "--disable-pip", "--no-deps"]
REPORT = ["--format", "json", "--progress-spinner", "off", "--timeout", "15"]


def main() -> int:
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as requirements:
        locked = subprocess.run(
            [*EXPORT, "--no-hashes"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        requirements.write(locked.stdout)
        requirements.flush()
        audit = subprocess.run(
            [*AUDIT, *REPORT, "--requirement", requirements.name],
            capture_output=True,
            text=True,
            check=False,
        )
    try:
        found = json.loads(audit.stdout)["dependencies"]
    except (ValueError, KeyError):
        print(f"NOT AUDITED: the advisory service does not answer\n{audit.stderr[-1000:]}")
        return 0
    return judge(found)


def judge(found: list[dict[str, Any]]) -> int:
    """Say what was found; returns the exit code."""
    audited = [one for one in found if "skip_reason" not in one]
    if not audited:
        print(f"NOT AUDITED: the service knows none of the {len(found)} dependencies")
        return 0
    vulnerable = [one for one in audited if one["vulns"]]
    for one in vulnerable:
        names = ", ".join(vulnerability["id"] for vulnerability in one["vulns"])
        print(f"{one['name']} {one['version']}: {names}")
    unknown = len(found) - len(audited)
    print(f"Audited {len(audited)}: {len(vulnerable)} vulnerable; {unknown} are not known there")
    return 1 if vulnerable else 0


if __name__ == "__main__":
    sys.exit(main())
