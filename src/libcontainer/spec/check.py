"""The check of a whole config.json: every problem at once, each with its JSON pointer (RFC 6901).

Authority: runtime-spec 1.3, config.md and config-linux.md; where they leave a value open, what the kernel
takes. Unknown members are ignored and unknown values of enumerations are problems, as config.md asks for.
The tables of this module, check_process.py, check_linux.py, check_resources.py and check_seccomp.py are the
schema; the functions beside them say what a schema cannot. Pure: nothing of the host is looked at, so a
path that does not exist, or a controller that the kernel lacks, is for others to find. On the hot path.

What a security-relevant member means when it is absent, null, false or empty ("refused" is a problem):

    member                           absent                null      false             empty
    root.readonly                    writable              refused   writable          –
    mounts                           none                  none      –                 none
    process.user                     0:0 (a warning)       refused   –                 0:0 (a warning)
    process.user.additionalGids      no other groups       absent    –                 no other groups
    process.capabilities             none at all           absent    –                 none at all
    process.capabilities.<set>       none                  absent    –                 none
    process.noNewPrivileges          false, as the spec    refused   may gain          –
    process.apparmorProfile          unchanged             refused   –                 unchanged
    process.selinuxLabel             unchanged             refused   –                 unchanged
    process.rlimits                  the caller's          refused   –                 the caller's
    linux.namespaces                 the caller's          refused   –                 the caller's
    linux.namespaces[].path          a new namespace       refused   –                 refused
    linux.uidMappings, gidMappings   none; refused where a user namespace is made; null is refused always
    linux.resources                  no limits             refused   –                 no limits
    linux.resources.devices          the default rules     refused   –                 the default rules
    …devices[].type, major, minor    any                   absent    –                 refused
    …devices[].access                rwm where denied, refused where allowed           refused
    linux.seccomp                    no filter             refused   –                 refused
    linux.seccomp.syscalls[].args    every call            refused   –                 every call
    linux.maskedPaths                none                  refused   –                 none
    linux.readonlyPaths              none                  refused   –                 none
    linux.rootfsPropagation          rslave                refused   –                 refused
    linux.mountLabel                 none                  refused   –                 none

Everywhere else null is the same as absent in a member that is not required, as it is to the runtimes
written in Go; null where the names are free (annotations, sysctl, …) or in a list is a problem. `spec.load`
leaves the accepted nulls out, so that nobody after it meets one.
"""

from __future__ import annotations

from libcontainer.errors import Problem
from libcontainer.spec.check_linux import (
    LINUX,
    MOUNT_MAPPINGS,
    is_mapped,
    namespaces,
    sysctl_namespace,
    sysctl_path,
)
from libcontainer.spec.check_process import ENVIRONMENT, PROCESS
from libcontainer.spec.check_resources import RESOURCES
from libcontainer.spec.rules import (
    MOST_PROBLEMS,
    PATH,
    TEXTS,
    Array,
    FreeMap,
    Integer,
    Record,
    Text,
    absolute,
    boolean,
    describe,
    member,
    missing,
    records,
    strings,
    text,
    word,
)
from libcontainer.strictjson import pointer_to

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAJOR_VERSION = 1
"""The major version of the runtime-spec that this runtime implements."""

LONGEST_NAME = 64
"""__NEW_UTS_LEN: how many bytes a host or domain name may have (sethostname(2))."""

LONGEST_TIMEOUT_S = 2**31 - 1

# What asks for a namespace of the container's own, and for which: without it, the host would be changed.
NEEDS = (
    ("/hostname", "uts"),
    ("/domainname", "uts"),
    ("/mounts", "mount"),
    ("/root/readonly", "mount"),
    ("/linux/devices", "mount"),
    ("/linux/maskedPaths", "mount"),
    ("/linux/readonlyPaths", "mount"),
    ("/linux/rootfsPropagation", "mount"),
    ("/linux/netDevices", "network"),
    ("/linux/uidMappings", "user"),
    ("/linux/gidMappings", "user"),
    ("/linux/timeOffsets", "time"),
)


def check(spec: object) -> list[Problem]:
    """Return every problem of `spec`, the value of a config.json: none where it is valid. Never raises."""
    problems: list[Problem] = []
    SPEC.whole(spec, "", problems)
    if isinstance(spec, dict):
        _check_namespace_needs(spec, problems)
        _check_sysctls(spec, problems)
        _check_id_mappings(spec, problems)
        _check_idmapped_mounts(spec, problems)
    return _bounded(problems)


def check_process(process: object) -> list[Problem]:
    """Return every problem of `process`, the value of a process.json, with pointers that begin in it."""
    problems: list[Problem] = []
    PROCESS.whole(process, "", problems)
    return _bounded(problems)


def check_resources(resources: object) -> list[Problem]:
    """Return every problem of `resources`, as in `linux.resources`, with pointers that begin in it."""
    problems: list[Problem] = []
    RESOURCES.whole(resources, "", problems)
    return _bounded(problems)


def warnings(spec: object) -> list[str]:
    """Return a sentence for everything in `spec` that is valid, but perhaps not what was meant."""
    sentences = []
    for index, mount in records(spec, "mounts"):
        destination = word(mount, "destination")
        if destination and destination[0] != "/":
            sentences.append(
                f"/mounts/{index}/destination: {describe(destination)} is relative and is taken below /"
            )
    process = member(spec, "process")
    if process:
        sentences += _capability_warnings(member(process, "capabilities"))
        for name in ("uid", "gid"):
            if member(process, "user").get(name) is None:
                sentences.append(f"/process/user/{name}: nothing is set, so it is 0, that of root")
    return sentences


def _capability_warnings(capabilities: dict[str, Any]) -> list[str]:
    from libcontainer.capabilities import NUMBERS, SETS

    sentences = []
    # capabilities(7): these cannot hold what those do not.
    within = {"effective": ("permitted",), "ambient": ("permitted", "inheritable")}
    for name in SETS:
        for item in strings(capabilities, name):
            if item not in NUMBERS and item.upper() not in NUMBERS:
                sentences.append(
                    f"/process/capabilities/{name}: {describe(item)} is not known and is ignored"
                )
                continue
            for other in within.get(name, ()):
                if item not in strings(capabilities, other):
                    sentences.append(
                        f"/process/capabilities/{name}: {item} is ignored, because {other} lacks it"
                    )
                    break
    return sentences


def _bounded(problems: list[Problem]) -> list[Problem]:
    if len(problems) <= MOST_PROBLEMS:
        return problems
    return [*problems[:MOST_PROBLEMS], Problem("", f"more than {MOST_PROBLEMS} problems", "a configuration")]


def _check_namespace_needs(spec: dict[str, Any], problems: list[Problem]) -> None:
    listed = namespaces(spec)
    for pointer, needed in NEEDS:
        value: Any = spec
        for name in pointer[1:].split("/"):
            value = value.get(name) if isinstance(value, dict) else None
        if value and needed not in listed:
            expected = f"this only with a {needed} namespace in /linux/namespaces"
            problems.append(Problem(pointer, describe(value), expected))
    if member(member(spec, "linux"), "timeOffsets") and listed.get("time") is not None:
        expected = "this only with a new time namespace: the clocks of a joined one are set"
        problems.append(Problem("/linux/timeOffsets", describe(spec["linux"]["timeOffsets"]), expected))


def _check_sysctls(spec: dict[str, Any], problems: list[Problem]) -> None:
    sysctls = member(member(spec, "linux"), "sysctl")
    if not sysctls:
        return
    listed = namespaces(spec)
    for name, value in sysctls.items():
        if not isinstance(name, str):
            continue
        path = sysctl_path(name)
        owner = sysctl_namespace(path)
        pointer = pointer_to("/linux/sysctl", name)
        domain = spec.get("domainname")
        if owner is None:
            expected = "a parameter that a namespace has for itself: this one is the host's"
            problems.append(Problem(pointer, describe(name), expected))
        elif owner not in listed:
            expected = f"this only with {_with_article(owner)} namespace in /linux/namespaces"
            problems.append(Problem(pointer, describe(name), expected))
        elif path == "kernel/hostname":
            problems.append(Problem(pointer, describe(name), "the name of the host in /hostname"))
        elif path == "kernel/domainname" and domain and domain != value:
            problems.append(Problem(pointer, describe(value), f"the same as /domainname, {describe(domain)}"))


def _check_id_mappings(spec: dict[str, Any], problems: list[Problem]) -> None:
    """A new user namespace needs mappings, and whoever is in it must be mapped (user_namespaces(7))."""
    if namespaces(spec).get("user", "") is not None:
        return
    user = member(member(spec, "process"), "user")
    groups = user.get("additionalGids")
    gids = [("gid", user.get("gid"))]
    if isinstance(groups, list):
        gids += [(f"additionalGids/{index}", group) for index, group in enumerate(groups)]
    for field, ids in (("uidMappings", [("uid", user.get("uid"))]), ("gidMappings", gids)):
        mappings = member(spec, "linux").get(field)
        pointer = f"/linux/{field}"
        if mappings is None or mappings == []:
            problems.append(missing(pointer, "mappings, because a user namespace is made"))
        elif isinstance(mappings, list):
            if not is_mapped(0, mappings):
                problems.append(Problem(pointer, "no mapping of id 0", "id 0 of the container mapped"))
            for name, value in ids:
                if type(value) is int and value != 0 and not is_mapped(value, mappings):
                    problems.append(
                        Problem(f"/process/user/{name}", str(value), f"an id that {pointer} maps")
                    )


def _with_article(namespace: str) -> str:
    return f"an {namespace}" if namespace == "ipc" else f"a {namespace}"


def _check_mount(mount: dict[str, Any], here: str, problems: list[Problem]) -> None:
    options = strings(mount, "options")
    # The type alone is not in the specification, but clients write it.
    bind = "bind" in options or "rbind" in options or mount.get("type") == "bind"
    mapped = [name for name in ("uidMappings", "gidMappings") if mount.get(name)]
    if len(mapped) == 1:
        other = "gidMappings" if mapped == ["uidMappings"] else "uidMappings"
        problems.append(missing(f"{here}/{other}", f"mappings, because {mapped[0]} are given"))
    if not bind and mapped:
        expected = "mappings only on a bind mount (option bind or rbind)"
        problems.append(Problem(f"{here}/{mapped[0]}", describe(mount[mapped[0]]), expected))
    if not bind and ("idmap" in options or "ridmap" in options):
        expected = "idmap and ridmap only beside bind or rbind"
        problems.append(
            Problem(f"{here}/options", describe("idmap" if "idmap" in options else "ridmap"), expected)
        )
    if bind and not mount.get("source") and "remount" not in options:
        problems.append(missing(f"{here}/source", "what is bound: this is a bind mount"))


def _check_idmapped_mounts(spec: dict[str, Any], problems: list[Problem]) -> None:
    """idmap without mappings of its own takes the container's (config.md "Mounts")."""
    if "user" in namespaces(spec):
        return
    for index, mount in records(spec, "mounts"):
        options = strings(mount, "options")
        if ("idmap" in options or "ridmap" in options) and not mount.get("uidMappings"):
            expected = "uidMappings and gidMappings, or a user namespace whose mappings it takes"
            problems.append(Problem(f"/mounts/{index}/options", describe("idmap"), expected))


def _is_version(value: str) -> bool:
    """Whether `value` is a version by SemVer 2.0.0 whose major version is implemented."""
    value, plus, build = value.partition("+")
    core, dash, release = value.partition("-")
    numbers = core.split(".")
    if len(numbers) != 3 or not all(_is_version_number(number) for number in numbers):
        return False
    if (plus and not _are_identifiers(build)) or (dash and not _are_identifiers(release)):
        return False
    if any(part.isdecimal() and not _is_version_number(part) for part in release.split(".")):
        return False
    return numbers[0] == str(MAJOR_VERSION)


def _is_version_number(part: str) -> bool:
    return part.isascii() and part.isdecimal() and (part == "0" or part[0] != "0")


def _are_identifiers(value: str) -> bool:
    parts = value.split(".")
    return all(part.isascii() and part.replace("-", "0").isalnum() for part in parts)


def _is_name(value: str) -> bool:
    return len(value.encode()) <= LONGEST_NAME and "\n" not in value


HOSTNAME = Text(f"a name of at most {LONGEST_NAME} bytes", _is_name)
MOUNT = Record(
    {
        # A relative destination is taken below / (config.md "Mounts"), see warnings().
        "destination": PATH,
        "type": text,
        "source": text,
        "options": TEXTS,
        "uidMappings": MOUNT_MAPPINGS,
        "gidMappings": MOUNT_MAPPINGS,
    },
    ("destination",),
    firm=("options", "uidMappings", "gidMappings"),
    also=_check_mount,
)
HOOKS = Array(
    Record(
        {
            "path": absolute,
            "args": TEXTS,
            "env": ENVIRONMENT,
            "timeout": Integer(1, LONGEST_TIMEOUT_S, f"seconds from 1 to {LONGEST_TIMEOUT_S}"),
        },
        ("path",),
        firm=("timeout",),
    )
)
SPEC = Record(
    {
        "ociVersion": Text(
            f"a version by SemVer with the major version {MAJOR_VERSION}, such as 1.3.0", _is_version
        ),
        "root": Record({"path": PATH, "readonly": boolean}, ("path",), firm=("readonly",)),
        "mounts": Array(MOUNT),
        "process": PROCESS,
        "hostname": HOSTNAME,
        "domainname": HOSTNAME,
        "hooks": Record(
            dict.fromkeys(
                ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"),
                HOOKS,
            )
        ),
        "annotations": FreeMap(text, bool, "a name that is not empty"),
        "linux": LINUX,
    },
    ("ociVersion", "root"),
    firm=("linux",),
)
