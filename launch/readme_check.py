"""Prints the commands, or the Python, of sections of README.md as a script that stops at the first failure.

python launch/readme_check.py "On what the demo left"
python launch/readme_check.py --python "In Python"
"""

import re
import sys
from pathlib import Path

README = Path(__file__).resolve().parents[1] / "README.md"


def blocks(heading: str, language: str) -> list[str]:
    """The fenced blocks of a language in the section of this heading."""
    section = README.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    found = re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)
    if not found:
        raise SystemExit(f"README.md has no {language} under the heading {heading!r}.")
    return found


def main() -> None:
    """Prints them."""
    words = sys.argv[1:]
    language = "python" if words[0] == "--python" else "bash"
    headings = [word for word in words if word != "--python"]
    if language == "bash":
        print("set -euxo pipefail")
    print("\n".join(block for heading in headings for block in blocks(heading, language)))


if __name__ == "__main__":
    main()
