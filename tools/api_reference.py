"""Write docs/reference/api.md and libcgroups.md from the docstrings of what the packages export.

`--check` fails when it is stale.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs" / "reference"
sys.path.insert(0, str(ROOT / "src"))

from libcgroups.stats import Record  # noqa: E402

PUBLIC = {
    "libcontainer": [
        "ContainerBuilder",
        "InitContainerBuilder",
        "RestoredContainerBuilder",
        "TenantContainerBuilder",
        "Container",
        "Process",
        "ExitStatus",
        "Problem",
        "Error",
        "InvalidArgument",
        "InvalidConfig",
        "StateError",
        "NotFound",
        "AlreadyExists",
        "SetupError",
        "ExecError",
        "HookError",
        "CgroupError",
        "CheckpointError",
        "Unsupported",
        "ProtocolError",
        "Timeout",
    ],
    "libcontainer.events": ["Event", "Events"],
    "libcontainer.aio": ["ContainerBuilder", "InitContainerBuilder", "Container", "build"],
    "libcontainer.spec.load": ["load", "load_process"],
    "libcontainer.spec.check": ["check", "check_process", "warnings"],
    "libcontainer.spec.defaults": ["default_spec", "rootless_spec"],
    "libcontainer.bundle": ["create"],
    "libcontainer.plan.explain": ["explain"],
    "libcontainer.features": ["features"],
}
CGROUPS = {
    "libcgroups.factory": ["new"],
    "libcgroups.manager": ["Manager"],
    "libcgroups.host": ["detect", "Setup", "Hierarchy"],
    "libcgroups.cgroup": ["Cgroup"],
    "libcgroups.stats": [
        *("Stats", "CpuStats", "CpusetStats", "MemoryStats", "IoStats", "IoEntry", "HugetlbStats"),
        *("RdmaStats", "Usage", "Count", "Pressure", "Stall"),
    ],
    "libcgroups.notifications": ["Notifications", "Oom"],
    "libcgroups.errors": [
        *("Error", "InvalidArgument", "CgroupError", "InUse", "NotPermitted", "Unsupported", "Timeout"),
    ],
    "libcgroups.aio": ["new", "Manager"],
}
REFERENCES = {"api.md": ("API reference", PUBLIC), "libcgroups.md": ("libcgroups: API reference", CGROUPS)}


def page(title: str, public: dict[str, list[str]]) -> str:
    """Return a whole page."""
    from importlib import import_module

    lines = [
        f"# {title}",
        "",
        "Made from the docstrings by `tools/api_reference.py`; `make lint` checks that it is fresh.",
        "",
    ]
    for module_name, names in public.items():
        module = import_module(module_name)
        lines += [f"## {module_name}", "", inspect.cleandoc(module.__doc__ or "").split("\n\n")[0], ""]
        for name in names:
            lines += entry(getattr(module, name), name)
    return "\n".join(lines).rstrip() + "\n"


def entry(value: object, name: str) -> list[str]:
    """Return the lines of one class or function."""
    if inspect.isclass(value) and issubclass(value, Record):
        return [f"### {name}", "", *documentation(value), "", *fields(value), ""]
    lines = [f"### {name}{signature(value)}", "", *documentation(value), ""]
    if not inspect.isclass(value):
        return lines
    for member, found in own_members(value):
        kind = "" if isinstance(found, property) else signature(getattr(value, member))
        lines += [f"#### {name}.{member}{kind}", "", *documentation(found), ""]
    return lines


def fields(value: type[Record]) -> list[str]:
    """Return a list of what a record holds."""
    types = {name: kind for cls in value.__mro__ for name, kind in inspect.get_annotations(cls).items()}
    properties = [name for name, member in vars(value).items() if isinstance(member, property)]
    return [f"* `{name}: {types[name]}`" for name in value.FIELDS] + [
        f"* `{name}`: {' '.join(documentation(getattr(value, name)))}" for name in properties
    ]


def own_members(value: type) -> list[tuple[str, object]]:
    """Return the public members that the class, or a class of ours that it inherits from, documents."""
    found: dict[str, object] = {}
    for cls in reversed(value.__mro__):
        if cls.__module__.startswith("lib"):
            found |= {name: member for name, member in vars(cls).items() if not name.startswith("_")}
    return [
        (name, member)
        for name, member in found.items()
        if callable(member) or isinstance(member, (property, classmethod))
    ]


def signature(value: object) -> str:
    """Return the parameters with their types, without self; none for an error that takes those of its base."""
    if inspect.isclass(value) and issubclass(value, Exception) and "__init__" not in vars(value):
        return ""
    try:
        text = str(inspect.signature(value))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return ""
    return text.replace("'", "").replace("(self, ", "(").replace("(self)", "()")


def documentation(value: object) -> list[str]:
    """Return the docstring's lines; indented parts become literal blocks by themselves."""
    target = value.__func__ if isinstance(value, classmethod) else value
    return inspect.cleandoc(getattr(target, "__doc__", None) or "").splitlines()


def main() -> int:
    """Write the pages, or tell which are stale."""
    stale = 0
    for name, (title, public) in REFERENCES.items():
        path, text = PAGES / name, page(title, public)
        if "--check" not in sys.argv:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            print(f"{path} is stale: run python tools/api_reference.py", file=sys.stderr)
            stale = 1
    return stale


if __name__ == "__main__":
    sys.exit(main())
