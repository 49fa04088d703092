"""Run every shell command that the README shows, in an empty folder, and compare what it prints.

Used by the checks, after the package was installed: installation and the tests are left out, they are run
by themselves.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from shown_output import difference, shell_examples

README = Path(__file__).resolve().parent.parent / "README.md"
INSTALLED = "pip install . && "
SKIPPED = ("pip ", "pytest", "git ", "export ")


def main(folder: Path) -> None:
    """Run the commands in ``folder``."""
    folder.mkdir(parents=True)
    examples = [
        (command.removeprefix(INSTALLED), shown)
        for command, shown in shell_examples(README.read_text(encoding="utf-8"))
    ]
    examples = [example for example in examples if not example[0].startswith(SKIPPED)]
    if not any(shown for _, shown in examples):
        raise SystemExit("the README shows no command with its output")
    for command, shown in examples:
        print(f"$ {command}", flush=True)
        run = subprocess.run(
            command, shell=True, cwd=folder, check=True, stdout=subprocess.PIPE, encoding="utf-8"
        )
        print(run.stdout, end="", flush=True)
        if shown is not None and (found := difference(run.stdout, shown)):
            raise SystemExit(f"the README shows something else than '{command}' prints:\n{found}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
