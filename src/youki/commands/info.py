"""youki info: print what this host offers to containers."""

from __future__ import annotations

from libcontainer.info import info
from youki.output import fields, write, write_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from youki.parser import Arguments


def run(args: Arguments, _settings: Arguments) -> None:
    facts = info()
    if args.format == "json":
        write_json(facts, indent=4)
        return
    lines: dict[str, str] = {}
    for name, value in facts.items():
        if isinstance(value, dict):
            lines[title(name)] = ""
            lines.update({f"  {key}": shown(item) for key, item in value.items()})
        else:
            lines[title(name)] = shown(value)
    write(fields(lines))


def title(name: str) -> str:
    """Return a key such as cgroupSetup as a heading: Cgroup setup."""
    words = "".join(f" {char.lower()}" if char.isupper() else char for char in name)
    return words[0].upper() + words[1:]


def shown(value: object) -> str:
    """Return a fact as a person reads it."""
    if isinstance(value, bool):
        return "available" if value else "not available"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
