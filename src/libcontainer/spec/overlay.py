"""The process of a tenant: the container's own, with what the caller asks for laid over it.

What is laid over follows runc's `exec`: environment, groups and capabilities are added, all else replaces.
Pure. On the hot path.
"""

from __future__ import annotations

from libcontainer.capabilities import NUMBERS
from libcontainer.errors import InvalidConfig, Problem
from libcontainer.spec.check_process import PROCESS
from libcontainer.spec.rules import describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SOURCE = "process"
REPLACED = ("args", "cwd", "noNewPrivileges", "apparmorProfile", "selinuxLabel")


def overlay(stored: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    """Return the process object for a tenant of a container whose own is `stored`.

    `asked` has members of a process object, but for `capabilities`, which is a list of names; `user` may lack
    members. Absent ones are the container's, except `args`, which are required, and `terminal`. Neither
    argument is changed. Raises InvalidConfig with every problem of what is asked for.
    """
    problems: list[Problem] = []
    PROCESS.whole({"cwd": stored["cwd"], **asked, "capabilities": {}}, "", problems)
    problems += _check_capabilities(asked.get("capabilities", ()))
    if problems:
        raise InvalidConfig(SOURCE, problems)
    process = {name: value for name, value in stored.items() if name != "consoleSize"}
    process["terminal"] = bool(asked.get("terminal"))
    for name in REPLACED:
        if name in asked:
            process[name] = asked[name]
    if asked.get("env"):
        process["env"] = [*(stored.get("env") or ()), *asked["env"]]
    if asked.get("user"):
        process["user"] = _user(stored.get("user") or {}, asked["user"])
    if asked.get("capabilities"):
        process["capabilities"] = add_capabilities(stored.get("capabilities") or {}, asked["capabilities"])
    return process


def _check_capabilities(names: Any) -> list[Problem]:
    """A caller's name is a word of this moment: an unknown one is a mistake, no matter of versions."""
    if not isinstance(names, (list, tuple)):
        return [Problem("/capabilities", describe(names), "a list of names")]
    return [
        Problem(f"/capabilities/{index}", describe(name), "the name of a capability such as CAP_NET_RAW")
        for index, name in enumerate(names)
        if not isinstance(name, str) or name.upper() not in NUMBERS
    ]


def _user(stored: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    groups = [*(stored.get("additionalGids") or ()), *(asked.get("additionalGids") or ())]
    user = {**stored, **asked}
    if groups:
        user["additionalGids"] = groups
    return user


def add_capabilities(stored: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """Return the sets with `names` added to what the process may use.

    Never to the inheritable set (CVE-2022-29162), and to the ambient set only what is inheritable already: the
    kernel wants both (capabilities(7)).
    """
    sets = {name: list(listed or ()) for name, listed in stored.items()}
    for kind in ("bounding", "effective", "permitted"):
        sets[kind] = sets.get(kind, []) + list(names)
    inheritable = {name.upper() for name in sets.get("inheritable", ())}
    sets["ambient"] = sets.get("ambient", []) + [name for name in names if name.upper() in inheritable]
    return sets
