"""Let an environment stand in another folder: what its scripts say of the old one says the new one. Standard library only, any Python 3."""

import os
import re

from environment import scripts

# The longest first line of a script that every system follows.
LONGEST_LINE = 127
_PLAIN = re.compile(rb"\A#!([^\n]*/bin/(python[0-9.]*))[ \t]*\n")
# What pip and uv write where a folder's name has a space or is too long for a first line.
_INDIRECT = re.compile(rb"\A#!/bin/sh\n'''exec' [\"']?([^\n]*?/bin/(python[0-9.]*))[\"']? \"\$0\" \"\$@\"\n' '''\n")


def move(venv, old, new):
    """Rewrite what in ``venv`` names the folder ``old``: scripts, activation, settings. It names ``new`` then. Returns how many files."""
    old, new = str(old), str(new)
    changed = 0
    for path in [*sorted(scripts(venv).iterdir()), venv / "pyvenv.cfg"]:
        if path.is_symlink() or not path.is_file():
            continue
        content = path.read_bytes()
        if b"\0" in content or os.fsencode(old) not in content:
            continue
        found = _with_header(content, old, new)
        found = re.sub(re.escape(os.fsencode(old)) + rb"(?![\w.-])", lambda _: os.fsencode(new), content) if found is None else found
        if found != content:
            path.write_bytes(found)  # in place: it stays as executable as it was
            changed += 1
    return changed


def _with_header(content, old, new):
    """A script of the environment ``old`` with the first lines that ``new`` needs; None for what is no such script."""
    found = _PLAIN.match(content) or _INDIRECT.match(content)
    if not found or not found.group(1).startswith(os.fsencode(old) + b"/"):
        return None
    interpreter = os.fsencode(new) + b"/bin/" + found.group(2)
    first = b"#!" + interpreter + b"\n"
    if len(first) > LONGEST_LINE or re.search(rb"\s", interpreter):
        quoted = re.sub(rb'(["$`\\])', rb"\\\1", interpreter)
        first = b"#!/bin/sh\n'''exec' \"" + quoted + b'" "$0" "$@"\n\' \'\'\'\n'
    return first + content[found.end() :]
