"""Configurations for property tests: `specs()` makes valid ones, `json_values()` makes anything that JSON
can hold.

A configuration of `specs()` passes the official schema and `libcontainer.spec.check`, uses every part of the
specification now and then, and asks for nothing that only some hosts have (security modules, resctrl), unless
`lsm=True` or `rdt=True`. Its namespaces are new; with `joined=True` some are joined by paths that need not
exist.
"""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

from libcontainer.spec.defaults import default_spec

Json = Any

CAPABILITIES = ["CAP_CHOWN", "CAP_KILL", "CAP_NET_ADMIN", "CAP_SYS_ADMIN", "CAP_CHECKPOINT_RESTORE"]
RLIMITS = ["RLIMIT_AS", "RLIMIT_CORE", "RLIMIT_NOFILE", "RLIMIT_NPROC", "RLIMIT_RTTIME", "RLIMIT_STACK"]
PROPAGATIONS = ["private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable"]
FLAGS = ["ro", "rw", "nosuid", "suid", "nodev", "noexec", "noatime", "relatime", "strictatime", "nodiratime"]
RECURSIVE_FLAGS = ["rro", "rrw", "rnosuid", "rnodev", "rnoexec", "rnoatime", "rrelatime"]
SYSCTLS = {
    "ipc": {"kernel.shm_rmid_forced": "1", "kernel.msgmax": "8192", "fs.mqueue.queues_max": "128"},
    "network": {"net.ipv4.ip_forward": "1", "net/ipv4/conf/eth0.1/forwarding": "0"},
    "user": {"user.max_user_namespaces": "10"},
}
ACTIONS = ["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_LOG", "SCMP_ACT_TRAP"]
OPERATORS = ["SCMP_CMP_EQ", "SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_GE", "SCMP_CMP_MASKED_EQ"]
CALLS = ["read", "openat", "personality", "clone3", "keyctl", "no_such_call"]
NAMESPACES = ["pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time"]


def json_values(leaves: int = 20) -> st.SearchStrategy[Json]:
    """Anything that JSON can hold, with numbers and strings at the edges; often with the names of a
    configuration.
    """
    scalars = (
        st.none()
        | st.booleans()
        | st.integers(-(2**65), 2**65)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=8)
        | st.sampled_from(
            ["", "/", "..", "a=b", "mount", "user", "bind", "MPOL_BIND", "SCHED_FIFO", "p", "\0", "\ud800"]
        )
    )
    names = st.sampled_from(
        ["type", "path", "options", "uidMappings", "size", "name", "names", "limit"]
    ) | st.text(max_size=4)
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
        max_leaves=leaves,
    )


def patched(changes: dict[str, Json], base: Json = None) -> Json:
    """A copy of `base`, the default configuration, with the value at each JSON pointer set; `...` removes
    it.
    """
    spec: Json = copy.deepcopy(default_spec() if base is None else base)
    for pointer, value in changes.items():
        *parents, last = pointer[1:].split("/")
        holder: Json = spec
        for parent in parents:
            holder = (
                holder[int(parent)] if isinstance(holder, list) else holder.setdefault(_plain(parent), {})
            )
        _set(holder, _plain(last), value)
    return spec


def _set(holder: Json, name: str, value: Json) -> None:
    if isinstance(holder, list) and value is ...:
        del holder[int(name)]
    elif isinstance(holder, list):
        holder[int(name) : int(name) + 1] = [value]
    elif value is ...:
        holder.pop(name, None)
    else:
        holder[name] = value


def _plain(token: str) -> str:
    return token.replace("~1", "/").replace("~0", "~")


def words(
    alphabet: str = "abcdefghijklmnopqrstuvwxyz0123456789_", least: int = 1, most: int = 10
) -> st.SearchStrategy[str]:
    """Short names that need no quoting anywhere."""
    return st.text(alphabet, min_size=least, max_size=most)


def texts() -> st.SearchStrategy[str]:
    """Any text that a system call takes."""
    return st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)


def paths() -> st.SearchStrategy[str]:
    """Absolute paths in the container, two or three levels deep."""
    return st.lists(words(), min_size=1, max_size=2).map(lambda parts: "/data/" + "/".join(parts))


def some(names: list[str], most: int = 4) -> st.SearchStrategy[list[str]]:
    """Some of `names`, each once."""
    return st.lists(st.sampled_from(names), unique=True, max_size=most)


def some_of(**members: st.SearchStrategy[Json]) -> st.SearchStrategy[dict[str, Json]]:
    """An object with any of `members`."""
    return st.fixed_dictionaries({}, optional=members)


def environments() -> st.SearchStrategy[list[str]]:
    """NAME=value entries, with duplicates and empty values now and then."""
    names = st.sampled_from(["PATH", "HOME", "TERM"]) | words()
    return st.lists(st.builds("{}={}".format, names, texts()), max_size=4)


@st.composite
def mappings(draw: st.DrawFn) -> list[dict[str, int]]:
    """Id mappings that map id 0 and do not overlap."""
    sizes = draw(st.lists(st.integers(1, 65536), min_size=1, max_size=3))
    container, host, extents = 0, draw(st.integers(0, 2**20)), []
    for size in sizes:
        extents.append({"containerID": container, "hostID": host, "size": size})
        container += size + draw(st.integers(0, 10))
        host += size + draw(st.integers(0, 10))
    return extents


@st.composite
def mounts(draw: st.DrawFn) -> dict[str, Json]:
    """One mount: of a file system, or bound, perhaps id-mapped."""
    mount: dict[str, Json] = {"destination": draw(paths())}
    options = draw(some(FLAGS)) + draw(some(PROPAGATIONS, 2)) + draw(some(RECURSIVE_FLAGS, 2))
    if draw(st.booleans()):
        mount |= {
            "type": draw(st.sampled_from(["bind", "none"])),
            "source": draw(st.sampled_from(["/usr", "data"])),
        }
        mount["options"] = [draw(st.sampled_from(["bind", "rbind"])), *options]
        return mount
    mount |= {"type": "tmpfs", "source": "tmpfs"}
    mount["options"] = options + draw(some(["tmpcopyup", "mode=0700", "size=64k", "nr_inodes=10"], 3))
    return mount


def rlimits() -> st.SearchStrategy[list[dict[str, Json]]]:
    """Resource limits, each once and soft below hard."""
    ends = st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)).map(sorted)
    limits = st.tuples(st.sampled_from(RLIMITS), ends)
    return st.lists(limits, max_size=3, unique_by=lambda limit: limit[0]).map(
        lambda rows: [{"type": name, "soft": soft, "hard": hard} for name, (soft, hard) in rows]
    )


def schedulers() -> st.SearchStrategy[dict[str, Json]]:
    """A scheduling policy with what belongs to it."""
    plain = st.fixed_dictionaries(
        {"policy": st.sampled_from(["SCHED_OTHER", "SCHED_BATCH", "SCHED_IDLE"])},
        optional={
            "nice": st.integers(-20, 19),
            "flags": some(["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_KEEP_POLICY"]),
        },
    )
    realtime = st.fixed_dictionaries(
        {"policy": st.sampled_from(["SCHED_FIFO", "SCHED_RR"]), "priority": st.integers(1, 99)}
    )
    deadline = st.lists(st.integers(1024, 10**9), min_size=3, max_size=3).map(
        lambda times: dict(
            zip(("runtime", "deadline", "period"), sorted(times), strict=True), policy="SCHED_DEADLINE"
        )
    )
    return plain | realtime | deadline


@st.composite
def processes(draw: st.DrawFn, *, ids: int = 2**32 - 2, lsm: bool = False) -> dict[str, Json]:
    """A process whose user and groups are below or at `ids`."""
    user = some_of(
        uid=st.integers(0, ids),
        gid=st.integers(0, ids),
        umask=st.integers(0, 0o777),
        additionalGids=st.lists(st.integers(0, ids), max_size=3),
    )
    capabilities = some_of(
        **{
            name: some(CAPABILITIES)
            for name in ("bounding", "effective", "inheritable", "permitted", "ambient")
        }
    )
    optional: dict[str, st.SearchStrategy[Json]] = {
        "terminal": st.booleans(),
        "consoleSize": st.fixed_dictionaries(
            {"height": st.integers(0, 65535), "width": st.integers(0, 65535)}
        ),
        "env": environments(),
        "user": user,
        "capabilities": capabilities,
        "rlimits": rlimits(),
        "noNewPrivileges": st.booleans(),
        "oomScoreAdj": st.integers(-1000, 1000),
        "scheduler": schedulers(),
        "ioPriority": st.fixed_dictionaries(
            {"class": st.sampled_from(["IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE"])},
            optional={"priority": st.integers(0, 7)},
        ),
        "execCPUAffinity": some_of(
            initial=st.sampled_from(["", "0", "0-1", "0, 1"]), final=st.sampled_from(["", "1"])
        ),
    }
    if lsm:
        optional |= {"apparmorProfile": words(), "selinuxLabel": words()}
    return draw(
        st.fixed_dictionaries(
            {
                "args": st.tuples(words(), st.lists(texts(), max_size=3)).map(
                    lambda parts: [parts[0], *parts[1]]
                ),
                "cwd": st.just("/") | paths(),
            },
            optional=optional,
        )
    )


def hooks() -> st.SearchStrategy[dict[str, Json]]:
    """Hooks of every kind."""
    hook = st.fixed_dictionaries(
        {"path": paths()},
        optional={
            "args": st.lists(texts(), max_size=2),
            "env": environments(),
            "timeout": st.integers(1, 100),
        },
    )
    kinds = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
    return some_of(**{kind: st.lists(hook, max_size=2) for kind in kinds})


def devices() -> st.SearchStrategy[dict[str, Json]]:
    """A device node or a pipe."""
    optional = {"fileMode": st.integers(0, 0o777), "uid": st.integers(0, 1000), "gid": st.integers(0, 1000)}
    path = words().map("/dev/{}".format) | paths()
    node = st.fixed_dictionaries(
        {
            "type": st.sampled_from(["c", "u", "b"]),
            "path": path,
            "major": st.integers(0, 4095),
            "minor": st.integers(0, 2**20 - 1),
        },
        optional=optional,
    )
    return node | st.fixed_dictionaries({"type": st.just("p"), "path": path}, optional=optional)


def resources() -> st.SearchStrategy[dict[str, Json]]:
    """Limits of every controller."""
    amount = st.just(-1) | st.integers(0, 2**63 - 1)
    number, small = st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1)
    major, minor, weight = st.integers(0, 4095), st.integers(0, 2**20 - 1), st.integers(10, 1000)
    rule = st.fixed_dictionaries(
        {"allow": st.booleans(), "access": st.sampled_from(["r", "rw", "rwm", "m"])},
        optional={"type": st.sampled_from(["a", "b", "c"]), "major": major, "minor": minor},
    )
    throttles = st.lists(st.fixed_dictionaries({"major": major, "minor": minor, "rate": number}), max_size=2)
    page = st.fixed_dictionaries({"pageSize": st.sampled_from(["64KB", "2MB", "1GB"]), "limit": number})
    return some_of(
        devices=st.lists(rule, max_size=3),
        memory=some_of(
            limit=amount,
            reservation=amount,
            kernel=amount,
            kernelTCP=amount,
            swappiness=st.integers(0, 100),
            disableOOMKiller=st.booleans(),
            useHierarchy=st.booleans(),
            checkBeforeUpdate=st.booleans(),
        ),
        cpu=some_of(
            shares=number,
            quota=amount,
            burst=number,
            period=number,
            realtimeRuntime=amount,
            realtimePeriod=number,
            cpus=st.just("0"),
            mems=st.just("0"),
            idle=st.integers(0, 1),
        ),
        pids=st.fixed_dictionaries({"limit": amount}),
        blockIO=some_of(
            weight=weight,
            leafWeight=weight,
            weightDevice=st.lists(
                st.fixed_dictionaries({"major": major, "minor": minor, "weight": weight}), max_size=2
            ),
            throttleReadBpsDevice=throttles,
            throttleWriteBpsDevice=throttles,
            throttleReadIOPSDevice=throttles,
            throttleWriteIOPSDevice=throttles,
        ),
        hugepageLimits=st.lists(page, max_size=2, unique_by=lambda limit: limit["pageSize"]),
        network=some_of(
            classID=small,
            priorities=st.lists(st.fixed_dictionaries({"name": words(), "priority": small}), max_size=2),
        ),
        rdma=st.dictionaries(words(), some_of(hcaHandles=small, hcaObjects=small), max_size=2),
        unified=st.dictionaries(st.sampled_from(["memory.high", "io.weight"]), st.just("100"), max_size=2),
    )


def without_contradictions(rules: list[dict[str, Json]]) -> list[dict[str, Json]]:
    """Leave each system call to the first rule that names it."""
    seen: set[str] = set()
    for rule in rules:
        rule["names"] = [name for name in rule["names"] if name not in seen]
        seen.update(rule["names"])
    return [rule for rule in rules if rule["names"]]


@st.composite
def seccomps(draw: st.DrawFn) -> dict[str, Json]:
    """A filter without an agent."""
    argument = st.fixed_dictionaries(
        {
            "index": st.integers(0, 5),
            "value": st.integers(0, 2**64 - 1),
            "op": st.sampled_from(OPERATORS),
        }
    )
    rule = st.fixed_dictionaries(
        {
            "names": st.lists(st.sampled_from(CALLS), min_size=1, max_size=3),
            "action": st.sampled_from(ACTIONS),
        },
        optional={"args": st.lists(argument, max_size=2)},
    )
    seccomp: dict[str, Json] = draw(
        st.fixed_dictionaries(
            {"defaultAction": st.sampled_from(ACTIONS)},
            optional={
                "architectures": some(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_AARCH64"]),
                "flags": some(["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"]),
                "syscalls": st.lists(rule, max_size=3),
            },
        )
    )
    if "syscalls" in seccomp:
        seccomp["syscalls"] = without_contradictions(seccomp["syscalls"])
    for holder, name in [
        (seccomp, "defaultErrnoRet"),
        *[(item, "errnoRet") for item in seccomp.get("syscalls", ())],
    ]:
        if holder.get("defaultAction", holder.get("action")) == "SCMP_ACT_ERRNO" and draw(st.booleans()):
            holder[name] = draw(st.integers(0, 4095))
    return seccomp


@st.composite
def namespace_lists(draw: st.DrawFn, *, joined: bool = False) -> list[dict[str, str]]:
    """Namespaces, each type once."""
    listed = []
    for name in draw(st.lists(st.sampled_from(NAMESPACES), unique=True)):
        path = draw(st.booleans()) if joined else False
        listed.append({"type": name, "path": f"/proc/1/ns/{name}"} if path else {"type": name})
    return listed


def memory_policies() -> st.SearchStrategy[dict[str, Json]]:
    """A NUMA policy with the nodes that it needs."""
    return st.sampled_from(
        [
            {"mode": "MPOL_DEFAULT"},
            {"mode": "MPOL_LOCAL", "nodes": ""},
            {"mode": "MPOL_PREFERRED"},
            {
                "mode": "MPOL_BIND",
                "nodes": "0-2,7",
                "flags": ["MPOL_F_NUMA_BALANCING", "MPOL_F_STATIC_NODES"],
            },
            {"mode": "MPOL_INTERLEAVE", "nodes": "0, 3", "flags": ["MPOL_F_RELATIVE_NODES"]},
            {"mode": "MPOL_WEIGHTED_INTERLEAVE", "nodes": "0"},
        ]
    )


@st.composite
def linuxes(draw: st.DrawFn, *, joined: bool = False, rdt: bool = False) -> dict[str, Json]:
    """The Linux part: everything that the namespaces in it permit."""
    listed = draw(namespace_lists(joined=joined))
    new = {item["type"] for item in listed if "path" not in item}
    optional: dict[str, st.SearchStrategy[Json]] = {
        "cgroupsPath": st.sampled_from(["/a/b", "a/b", "system.slice:youki:a", ""]),
        "resources": resources(),
        "seccomp": seccomps(),
        "personality": st.fixed_dictionaries(
            {"domain": st.sampled_from(["LINUX", "LINUX32"])}, optional={"flags": st.just([])}
        ),
        "memoryPolicy": memory_policies(),
    }
    if any(item["type"] == "mount" for item in listed):
        optional |= {
            "devices": st.lists(devices(), max_size=2, unique_by=lambda device: device["path"]),
            "maskedPaths": st.lists(paths(), max_size=2),
            "readonlyPaths": st.lists(paths(), max_size=2),
            "rootfsPropagation": st.sampled_from(["private", "shared", "slave", "unbindable"]),
        }
    if "time" in new:
        clock = some_of(secs=st.integers(-100, 10**6), nanosecs=st.integers(0, 999_999_999))
        optional["timeOffsets"] = some_of(boottime=clock, monotonic=clock)
    if "network" in new:
        optional["netDevices"] = st.dictionaries(
            words(), st.just({}) | words().map(lambda name: {"name": name}), max_size=1
        )
    if rdt:
        optional["intelRdt"] = some_of(
            closID=words(),
            schemata=st.just(["L3:0=ff"]),
            l3CacheSchema=st.just("L3:0=ff"),
            memBwSchema=st.just("MB:0=50"),
            enableMonitoring=st.booleans(),
        )
    sysctls = {name: value for kind in new & SYSCTLS.keys() for name, value in SYSCTLS[kind].items()}
    if sysctls:
        optional["sysctl"] = some(sorted(sysctls)).map(lambda names: {name: sysctls[name] for name in names})
    linux = draw(st.fixed_dictionaries({"namespaces": st.just(listed)}, optional=optional))
    if "user" in new:
        linux |= {"uidMappings": draw(mappings()), "gidMappings": draw(mappings())}
    return linux


@st.composite
def specs(draw: st.DrawFn, *, joined: bool = False, lsm: bool = False, rdt: bool = False) -> dict[str, Json]:
    """A valid configuration; see the module's docstring."""
    linux = draw(linuxes(joined=joined, rdt=rdt))
    listed = {item["type"] for item in linux["namespaces"]}
    mapped = 0 if "uidMappings" in linux else 2**32 - 2
    standard = st.lists(
        st.sampled_from(default_spec()["mounts"]), unique_by=lambda mount: mount["destination"]
    )
    optional: dict[str, st.SearchStrategy[Json]] = {
        "process": processes(ids=mapped, lsm=lsm),
        "hooks": hooks(),
        "annotations": st.dictionaries(words(), texts(), max_size=3),
    }
    if "uts" in listed:
        optional |= {"hostname": words(most=64), "domainname": words(most=64)}
    root = {"path": st.sampled_from(["rootfs", "/rootfs"])}
    if "mount" in listed:
        optional["mounts"] = st.builds(list.__add__, standard, st.lists(mounts(), max_size=3))
        roots = st.fixed_dictionaries(root, optional={"readonly": st.booleans()})
    else:
        roots = st.fixed_dictionaries(root, optional={"readonly": st.just(False)})
    version = st.sampled_from(["1.0.0", "1.0.2-dev", "1.3.0", "1.4.0-rc.1+build.7"])
    spec = draw(st.fixed_dictionaries({"ociVersion": version, "root": roots}, optional=optional))
    return copy.deepcopy(spec | {"linux": linux})
