"""Run every shell command that the README shows, in an empty folder; used by the checks.

Installation and the tests are left out, they are run by themselves. Training is cut short by the
reader, so it is only parsed.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"
SKIPPED = (
    "pip ",
    "pytest",
    "git ",
    "python benchmarks",
    "python -m benchmarks",
    "pnp-lip train",
    "export ",
)


def commands(text: str) -> list[str]:
    """The lines of all ``bash`` blocks that are not skipped."""
    blocks = re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith(("#", *SKIPPED))]


def main(folder: Path) -> None:
    """Run the commands in ``folder``."""
    folder.mkdir(parents=True)
    found = commands(README.read_text())
    if not found:
        raise SystemExit("the README shows no commands")
    for line in found:
        print(f"$ {line}", flush=True)
        subprocess.run(line, shell=True, cwd=folder, check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
