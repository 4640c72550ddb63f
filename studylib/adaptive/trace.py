"""Every step of a search in a file, one line each, so that a killed search goes on where it was."""

import json
from pathlib import Path


class Trace:
    """``header`` names the search; steps of a file with another header, and a torn last line, are not taken over."""

    def __init__(self, path: Path, header: dict):
        self.path, self.header = Path(path), json.loads(json.dumps(header))
        self.steps: list[dict] = []
        self._old = self._read()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Written anew at once: what could not be read must not stand between old steps and new ones.
        self._write(self._old)

    def _read(self) -> list[dict]:
        if not self.path.exists():
            return []
        found = []
        for line in self.path.read_bytes().splitlines(keepends=True):
            try:
                content = json.loads(line)
            except ValueError:
                break
            if not isinstance(content, dict) or not line.endswith(b"\n"):
                break
            found.append(content)
        return found[1:] if found and found[0] == {"header": self.header} else []

    def _write(self, steps: list[dict]) -> None:
        written = self.path.with_name(self.path.name + ".new")
        written.write_text("".join(json.dumps(line) + "\n" for line in ({"header": self.header}, *steps)), encoding="utf-8")
        written.replace(self.path)

    def known(self, key: str) -> dict | None:
        """The next step of an earlier run when it has this key; otherwise the earlier run ends here."""
        place = len(self.steps)
        if place >= len(self._old):
            return None
        if self._old[place]["key"] == key:
            self.steps.append(self._old[place])
            return self.steps[-1]
        self._old = []
        self._write(self.steps)
        return None

    def add(self, step: dict) -> None:
        self.steps.append(step)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(step) + "\n")
            file.flush()
