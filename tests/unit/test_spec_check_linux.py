"""spec/check_linux.py, check_resources.py, check_seccomp.py: the rules of `linux`, kept and broken."""

from __future__ import annotations

from typing import Any

import pytest
from tests.strategies import patched

from libcontainer.spec.check import check
from libcontainer.spec.check_linux import namespaces, sysctl_namespace, sysctl_path

ALL = [{"type": name} for name in ("pid", "network", "ipc", "uts", "mount", "cgroup")]
USER = {"type": "user"}
MANY = {"containerID": 0, "hostID": 1000, "size": 10}
MAPPED = {"/namespaces": [*ALL, USER], "/uidMappings": [MANY], "/gidMappings": [MANY]}
DEVICE = {"type": "c", "path": "/dev/x", "major": 0, "minor": 0}
AGENT = {"listenerPath": "/run/agent.sock"}
NOTIFY = {"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}
BIND = {"mode": "MPOL_BIND", "nodes": "0"}
GIB = 2**30


def extents(*rows: tuple[int, int, int]) -> list[dict[str, int]]:
    """Mappings of (containerID, hostID, size)."""
    return [{"containerID": first, "hostID": host, "size": size} for first, host, size in rows]


def seccomp(**members: Any) -> dict[str, Any]:
    """A change that sets a filter."""
    return {"/seccomp": {"defaultAction": "SCMP_ACT_ERRNO", **members}}


def rule(**members: Any) -> dict[str, Any]:
    """A change that sets a filter of one rule."""
    return seccomp(syscalls=[{"names": ["read"], "action": "SCMP_ACT_ALLOW", **members}])


DENY: dict[str, Any] = {"names": ["read"], "action": "SCMP_ACT_ERRNO"}
ONE, TWO = ({"index": 0, "value": value, "op": "SCMP_CMP_EQ"} for value in (1, 2))


def contradiction(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """A filter of two rules."""
    return seccomp(syscalls=[first, second])


# What is changed below /linux, and the pointers of the problems below /linux.
Rows = list[tuple[dict[str, Any], list[str]]]
NAMESPACES: Rows = [
    ({"/namespaces/0/type": "x"}, ["/namespaces/0/type"]),
    ({"/namespaces/0/type": ...}, ["/namespaces/0/type"]),
    ({"/namespaces": [*ALL, {"type": "pid"}]}, ["/namespaces/6/type"]),
    ({"/namespaces/0/path": "/proc/1/ns/pid"}, []),
    ({"/namespaces/0/path": "proc"}, ["/namespaces/0/path"]),
    ({"/namespaces/0/path": ""}, ["/namespaces/0/path"]),
    ({"/namespaces/0/path": None}, ["/namespaces/0/path"]),
    (MAPPED, []),
    ({"/namespaces": [*ALL, USER]}, ["/uidMappings", "/gidMappings"]),
    ({"/namespaces": [*ALL, USER], "/uidMappings": [], "/gidMappings": []}, ["/uidMappings", "/gidMappings"]),
    ({"/namespaces": [*ALL, USER | {"path": "/x"}]}, []),
    ({"/namespaces": [*ALL, USER | {"path": "/x"}], "/uidMappings": [MANY], "/gidMappings": [MANY]}, []),
    ({"/uidMappings": [MANY]}, ["/uidMappings"]),
    ({"/gidMappings": [MANY]}, ["/gidMappings"]),
    ({"/uidMappings": None}, ["/uidMappings"]),
    (
        MAPPED | {"/uidMappings": [{}]},
        [f"/uidMappings/0/{n}" for n in ("containerID", "hostID", "size")] + ["/uidMappings"],
    ),
    (MAPPED | {"/uidMappings": extents((0, 0, 0))}, ["/uidMappings/0/size", "/uidMappings"]),
    (MAPPED | {"/uidMappings": extents((1, 0, 5))}, ["/uidMappings"]),
    (MAPPED | {"/gidMappings": extents((0, 10, 1), (1, 11, 2**32 - 12))}, []),
    (MAPPED | {"/gidMappings": extents((0, 10, 1), (1, 11, 2**32 - 11))}, ["/gidMappings/1/hostID"]),
    (MAPPED | {"/gidMappings": extents((0, 0, 2**32 - 1))}, []),
    (MAPPED | {"/gidMappings": extents((0, 10, 5), (4, 20, 5))}, ["/gidMappings/1/containerID"]),
    (MAPPED | {"/gidMappings": extents((0, 10, 5), (5, 14, 5))}, ["/gidMappings/1/hostID"]),
    (
        MAPPED | {"/gidMappings": extents((0, 10, 9), (2, 30, 1), (5, 40, 1))},
        ["/gidMappings/1/containerID", "/gidMappings/2/containerID"],
    ),
    (MAPPED | {"/uidMappings": extents(*[(n, n, 1) for n in range(340)])}, []),
    (MAPPED | {"/uidMappings": extents(*[(n, n, 1) for n in range(341)])}, ["/uidMappings"]),
    ({"/timeOffsets": {}}, []),
    ({"/timeOffsets": {"boottime": {"secs": 1}}}, ["/timeOffsets"]),
    ({"/timeOffsets": {"boottime": {"secs": -1, "nanosecs": 999999999}}, "/namespaces/5/type": "time"}, []),
    (
        {"/timeOffsets": {"monotonic": {"nanosecs": 10**9}}, "/namespaces/5/type": "time"},
        ["/timeOffsets/monotonic/nanosecs"],
    ),
    ({"/timeOffsets": {"realtime": {}}, "/namespaces/5/type": "time"}, ["/timeOffsets/realtime"]),
    ({"/timeOffsets": {"boottime": {}}, "/namespaces/5": {"type": "time", "path": "/x"}}, ["/timeOffsets"]),
]
OTHERS: Rows = [
    (
        {
            "/devices": [
                DEVICE,
                DEVICE | {"path": "/outside", "type": "u", "fileMode": 0o27777, "uid": 1, "gid": 2},
            ]
        },
        [],
    ),
    ({"/devices": [{"type": "p", "path": "/p"}]}, []),
    ({"/devices": [{"type": "b", "path": "/b"}]}, ["/devices/0/major", "/devices/0/minor"]),
    ({"/devices": [{}]}, [f"/devices/0/{n}" for n in ("type", "path", "major", "minor")]),
    ({"/devices": [DEVICE | {"path": "dev/x"}]}, ["/devices/0/path"]),
    ({"/devices": [DEVICE | {"type": "a"}]}, ["/devices/0/type"]),
    ({"/devices": [DEVICE | {"major": 4096, "minor": 2**20}]}, ["/devices/0/major", "/devices/0/minor"]),
    ({"/devices": [DEVICE | {"major": 4095, "minor": 2**20 - 1}]}, []),
    (
        {"/devices": [DEVICE | {"major": -1, "fileMode": 0o200000}]},
        ["/devices/0/major", "/devices/0/fileMode"],
    ),
    ({"/devices": [DEVICE | {"uid": 2**32 - 1, "gid": -1}]}, ["/devices/0/uid", "/devices/0/gid"]),
    ({"/netDevices": {"eth0": {}, "eth1": {"name": "a" * 15}}}, []),
    ({"/netDevices": {"eth0": {"name": "a" * 16}, "": {}}}, ["/netDevices/eth0/name", "/netDevices/"]),
    (
        {"/netDevices": {"a/b": {}, "..": {}, "a b": {}, "a:1": {}}},
        ["/netDevices/a~1b", "/netDevices/..", "/netDevices/a b", "/netDevices/a:1"],
    ),
    ({"/netDevices": {"a": {}, "b": {"name": "a"}}}, ["/netDevices/b/name"]),
    ({"/netDevices": {"a": {"name": "e%d"}, "b": {"name": "e%d"}}}, []),
    ({"/netDevices": {"a": {}}, "/namespaces": [*ALL[:1], *ALL[2:]]}, ["/netDevices"]),
    ({"/cgroupsPath": "/a/b..c"}, []),
    ({"/cgroupsPath": "system.slice:youki:x"}, []),
    ({"/cgroupsPath": ""}, []),
    ({"/cgroupsPath": "/a/../b"}, ["/cgroupsPath"]),
    ({"/cgroupsPath": "a\nb"}, ["/cgroupsPath"]),
    ({"/cgroupsPath": "a\0b"}, ["/cgroupsPath"]),
    *[({"/rootfsPropagation": name}, []) for name in ("private", "rshared", "slave", "runbindable")],
    ({"/rootfsPropagation": ""}, ["/rootfsPropagation"]),
    ({"/rootfsPropagation": "public"}, ["/rootfsPropagation"]),
    ({"/maskedPaths": [], "/readonlyPaths": []}, []),
    ({"/maskedPaths": ["proc"], "/readonlyPaths": ["/a", ""]}, ["/maskedPaths/0", "/readonlyPaths/1"]),
    ({"/maskedPaths": None, "/readonlyPaths": None}, ["/maskedPaths", "/readonlyPaths"]),
    ({"/mountLabel": "u:r:t:s0:c1,c2"}, []),
    ({"/mountLabel": 'x",exec'}, ["/mountLabel"]),
    ({"/mountLabel": None}, ["/mountLabel"]),
    ({"/personality": {"domain": "LINUX32", "flags": []}}, []),
    ({"/personality": {}}, ["/personality/domain"]),
    ({"/personality": {"domain": "BSD"}}, ["/personality/domain"]),
    ({"/personality": {"domain": "LINUX", "flags": ["X"]}}, ["/personality/flags/0"]),
    (
        {
            "/intelRdt": {
                "closID": "a",
                "schemata": ["L3:0=f"],
                "l3CacheSchema": "L3:0=f\nL3:1=f",
                "memBwSchema": "MB:0=5",
            }
        },
        [],
    ),
    ({"/intelRdt": {"closID": "/", "enableMonitoring": True}}, []),
    ({"/intelRdt": {"closID": "a/b"}}, ["/intelRdt/closID"]),
    *(
        ({"/intelRdt": {"closID": name}}, ["/intelRdt/closID"])
        for name in ("", ".", "..", "/a", "a\nb", "a\0b", "info", "mon_data", "mon_groups", "a" * 256)
    ),
    ({"/intelRdt": {"closID": "a" * 255}}, []),
    (
        {"/intelRdt": {"schemata": ["a\nb"], "memBwSchema": "L3:0=1"}},
        ["/intelRdt/schemata/0", "/intelRdt/memBwSchema"],
    ),
    (
        {"/intelRdt": {"enableMonitoring": 1, "l3CacheSchema": 1}},
        ["/intelRdt/enableMonitoring", "/intelRdt/l3CacheSchema"],
    ),
    ({"/memoryPolicy": {"mode": "MPOL_DEFAULT"}}, []),
    ({"/memoryPolicy": {}}, ["/memoryPolicy/mode"]),
    ({"/memoryPolicy": {"mode": "MPOL_X"}}, ["/memoryPolicy/mode", "/memoryPolicy/nodes"]),
    (
        {"/memoryPolicy": {"mode": "MPOL_LOCAL", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}},
        ["/memoryPolicy/nodes", "/memoryPolicy/flags"],
    ),
    ({"/memoryPolicy": BIND | {"flags": ["MPOL_F_NUMA_BALANCING", "MPOL_F_STATIC_NODES"]}}, []),
    ({"/memoryPolicy": {"mode": "MPOL_BIND", "nodes": " "}}, ["/memoryPolicy/nodes"]),
    ({"/memoryPolicy": BIND | {"nodes": "1024"}}, ["/memoryPolicy/nodes"]),
    (
        {"/memoryPolicy": BIND | {"flags": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"]}},
        ["/memoryPolicy/flags"],
    ),
    ({"/memoryPolicy": BIND | {"flags": ["X"]}}, ["/memoryPolicy/flags/0"]),
    ({"/memoryPolicy": {"mode": "MPOL_PREFERRED"}}, []),
    (
        {"/memoryPolicy": {"mode": "MPOL_PREFERRED", "flags": ["MPOL_F_STATIC_NODES"]}},
        ["/memoryPolicy/flags"],
    ),
    (
        {"/memoryPolicy": {"mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_NUMA_BALANCING"]}},
        ["/memoryPolicy/flags"],
    ),
]
SYSCTLS: Rows = [
    (
        {
            "/sysctl": {
                "kernel.msgmax": "1",
                "kernel/sem": "1 2 3 4",
                "fs.mqueue.msg_max": "9",
                "kernel.shm_rmid_forced": "1",
            }
        },
        [],
    ),
    (
        {
            "/sysctl": {
                "net.ipv4.ip_forward": "1",
                "net.ipv4.conf.eth0/1.forwarding": "",
                "kernel.domainname": "x",
            }
        },
        [],
    ),
    (
        {
            "/sysctl": {
                "kernel.panic": "1",
                "vm.swappiness": "1",
                "kernel.msgmax2": "1",
                "fs.mqueue": "1",
                "networks.a": "1",
            }
        },
        [
            f"/sysctl/{n}"
            for n in ("kernel.panic", "vm.swappiness", "kernel.msgmax2", "fs.mqueue", "networks.a")
        ],
    ),
    (
        {"/sysctl": {"net.ipv4.x": 1, "net.a": "1\n2", "net.b": "\0", "net.c": None}},
        [f"/sysctl/net.{n}" for n in ("ipv4.x", "a", "b", "c")],
    ),
    ({"/sysctl": {"kernel.hostname": "x"}}, ["/sysctl/kernel.hostname"]),
    ({"/sysctl": {"user.max_user_namespaces": "1"}}, ["/sysctl/user.max_user_namespaces"]),
    (MAPPED | {"/sysctl": {"user.max_user_namespaces": "1"}}, []),
    ({"/sysctl": {"net.a": "1"}, "/namespaces": [*ALL[:1], *ALL[2:]]}, ["/sysctl/net.a"]),
    ({"/sysctl": {"kernel.sem": "1"}, "/namespaces": [*ALL[:2], *ALL[3:]]}, ["/sysctl/kernel.sem"]),
    ({"/sysctl": {"net.a": "1", "net/a": "2"}}, ["/sysctl/net~1a"]),
    ({"/sysctl": {"net/../vm/x": "1"}}, ["/sysctl/net~1..~1vm~1x"]),
    ({"/sysctl": {"": "1"}}, ["/sysctl/"] * 2),
    ({"/sysctl": []}, ["/sysctl"]),
]
RESOURCES: Rows = [
    ({"/resources": None}, ["/resources"]),
    ({"/resources": {}}, []),
    ({"/resources/devices": None}, ["/resources/devices"]),
    (
        {
            "/resources/devices": [
                {"allow": False, "type": None, "major": None, "minor": None, "access": "rwm"}
            ]
        },
        [],
    ),
    (
        {
            "/resources/devices": [
                {"allow": False},
                {"allow": True, "type": "c", "major": 1, "minor": -1, "access": "mr"},
            ]
        },
        [],
    ),
    (
        {"/resources/devices": [{"allow": True}, {}]},
        ["/resources/devices/0/access", "/resources/devices/1/allow"],
    ),
    (
        {"/resources/devices": [{"allow": 1, "type": "p", "major": -2, "minor": 2**20, "access": "x"}]},
        [f"/resources/devices/0/{n}" for n in ("allow", "type", "major", "minor", "access")],
    ),
    ({"/resources/devices": [{"allow": False, "access": ""}]}, ["/resources/devices/0/access"]),
    ({"/resources/memory": {"limit": GIB, "swap": GIB, "reservation": -1, "swappiness": 100}}, []),
    ({"/resources/memory": {"limit": -1, "swap": GIB, "swappiness": 2**64 - 1}}, []),
    ({"/resources/memory": {"swap": GIB}}, ["/resources/memory/swap"]),
    ({"/resources/memory": {"limit": GIB, "swap": GIB - 1}}, ["/resources/memory/swap"]),
    (
        {"/resources/memory": {"limit": -2, "swappiness": 101}},
        ["/resources/memory/limit", "/resources/memory/swappiness"],
    ),
    (
        {"/resources/memory": {"disableOOMKiller": 1, "limit": 1.0}},
        ["/resources/memory/disableOOMKiller", "/resources/memory/limit"],
    ),
    (
        {
            "/resources/cpu": {
                "shares": 2**64 - 1,
                "quota": -1,
                "burst": 0,
                "period": 0,
                "cpus": "0-3",
                "mems": "",
                "idle": 0,
            }
        },
        [],
    ),
    (
        {"/resources/cpu": {"shares": -1, "quota": 2**63, "idle": 2, "cpus": "0\n1"}},
        [f"/resources/cpu/{n}" for n in ("shares", "quota", "idle", "cpus")],
    ),
    ({"/resources/pids": {"limit": 0}}, []),
    ({"/resources/pids": {}}, ["/resources/pids/limit"]),
    ({"/resources/pids": {"limit": "max"}}, ["/resources/pids/limit"]),
    (
        {
            "/resources/blockIO": {
                "weight": 10,
                "leafWeight": 0,
                "weightDevice": [{"major": 8, "minor": 0, "weight": 1000}],
            }
        },
        [],
    ),
    (
        {"/resources/blockIO": {"weight": 9, "leafWeight": 1001}},
        ["/resources/blockIO/weight", "/resources/blockIO/leafWeight"],
    ),
    (
        {"/resources/blockIO": {"weightDevice": [{"major": 8}]}},
        ["/resources/blockIO/weightDevice/0/minor", "/resources/blockIO/weightDevice/0/weight"],
    ),
    ({"/resources/blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 0}]}}, []),
    (
        {"/resources/blockIO": {"throttleWriteIOPSDevice": [{"major": 8, "minor": 0}]}},
        ["/resources/blockIO/throttleWriteIOPSDevice/0/rate"],
    ),
    (
        {
            "/resources/hugepageLimits": [
                {"pageSize": "2MB", "limit": 0},
                {"pageSize": "64KB", "limit": 2**64 - 1},
            ]
        },
        [],
    ),
    *[
        (
            {"/resources/hugepageLimits": [{"pageSize": size, "limit": 0}]},
            ["/resources/hugepageLimits/0/pageSize"],
        )
        for size in ("3MB", "2M", "02MB", "MB", "2 MB", "2mb", "", "2MB\n")
    ],
    (
        {"/resources/hugepageLimits": [{"pageSize": "2MB", "limit": 0}] * 2},
        ["/resources/hugepageLimits/1/pageSize"],
    ),
    ({"/resources/network": {"classID": 2**32 - 1, "priorities": [{"name": "lo", "priority": 0}]}}, []),
    (
        {"/resources/network": {"classID": -1, "priorities": [{"name": "l o"}]}},
        [
            "/resources/network/classID",
            "/resources/network/priorities/0/name",
            "/resources/network/priorities/0/priority",
        ],
    ),
    ({"/resources/rdma": {"mlx5_1": {"hcaHandles": 0, "hcaObjects": 2**32 - 1}}}, []),
    (
        {"/resources/rdma": {"a b": {}, "c": {"hcaHandles": -1}}},
        ["/resources/rdma/a b", "/resources/rdma/c/hcaHandles"],
    ),
    ({"/resources/unified": {"memory.high": "max\n", "hugetlb.2MB.max": "0"}}, []),
    (
        {"/resources/unified": {"../x.y": "", "memory": "", ".x": "", "a.": "", "memory.low": 1}},
        [f"/resources/unified/{n}" for n in ("..~1x.y", "memory", ".x", "a.", "memory.low")],
    ),
]
SECCOMP: Rows = [
    ({"/seccomp": None}, ["/seccomp"]),
    ({"/seccomp": {}}, ["/seccomp/defaultAction"]),
    (seccomp(), []),
    (
        seccomp(defaultErrnoRet=4095, architectures=["SCMP_ARCH_X86_64"], flags=["SECCOMP_FILTER_FLAG_LOG"]),
        [],
    ),
    (seccomp(defaultErrnoRet=4096), ["/seccomp/defaultErrnoRet"]),
    ({"/seccomp": {"defaultAction": "SCMP_ACT_TRACE", "defaultErrnoRet": 65535}}, []),
    ({"/seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}}, ["/seccomp/defaultErrnoRet"]),
    ({"/seccomp": {"defaultAction": "ALLOW"}}, ["/seccomp/defaultAction"]),
    ({"/seccomp": {"defaultAction": "SCMP_ACT_NOTIFY", **AGENT}}, ["/seccomp/defaultAction"]),
    (
        seccomp(architectures=["SCMP_ARCH_NATIVE"], flags=["X"]),
        ["/seccomp/architectures/0", "/seccomp/flags/0"],
    ),
    (seccomp(architectures=None, syscalls=None), ["/seccomp/architectures", "/seccomp/syscalls"]),
    (rule(), []),
    (rule(names=[]), ["/seccomp/syscalls/0/names"]),
    (rule(names=["", 1]), ["/seccomp/syscalls/0/names/0", "/seccomp/syscalls/0/names/1"]),
    (rule(action="X"), ["/seccomp/syscalls/0/action"]),
    (rule(errnoRet=1), ["/seccomp/syscalls/0/errnoRet"]),
    (rule(action="SCMP_ACT_ERRNO", errnoRet=38), []),
    (rule(action="SCMP_ACT_ERRNO", errnoRet=-1), ["/seccomp/syscalls/0/errnoRet"] * 2),
    (rule(args=[{"index": 5, "value": 2**64 - 1, "valueTwo": 0, "op": "SCMP_CMP_EQ"}]), []),
    (rule(args=[{"index": 0, "value": 1, "valueTwo": 1, "op": "SCMP_CMP_MASKED_EQ"}]), []),
    (
        rule(args=[{"index": 0, "value": 1, "valueTwo": 1, "op": "SCMP_CMP_EQ"}]),
        ["/seccomp/syscalls/0/args/0/valueTwo"],
    ),
    (
        rule(args=[{"index": 6, "value": -1, "op": "EQ"}, {}]),
        [
            f"/seccomp/syscalls/0/args/{n}"
            for n in ("0/index", "0/value", "0/op", "1/index", "1/value", "1/op")
        ],
    ),
    (rule(args=None), ["/seccomp/syscalls/0/args"]),
    (
        rule(args=[{"index": 0, "value": 3, "valueTwo": 4, "op": "SCMP_CMP_MASKED_EQ"}]),
        ["/seccomp/syscalls/0/args/0/valueTwo"],
    ),
    (contradiction(DENY, DENY | {"action": "SCMP_ACT_ALLOW"}), []),
    (contradiction(DENY, DENY | {"action": "SCMP_ACT_ALLOW", "args": [ONE]}), []),
    (contradiction(DENY | {"args": [ONE]}, DENY | {"args": [ONE], "errnoRet": 1}), []),
    (
        contradiction(DENY | {"args": [ONE]}, DENY | {"args": [ONE], "errnoRet": 2}),
        ["/seccomp/syscalls/1/action"],
    ),
    (contradiction(DENY | {"args": [ONE]}, DENY | {"args": [ONE], "names": ["write"], "errnoRet": 2}), []),
    (contradiction(DENY | {"args": [ONE]}, DENY | {"action": "SCMP_ACT_LOG", "args": [TWO]}), []),
    (
        contradiction(DENY | {"args": [ONE]}, DENY | {"action": "SCMP_ACT_LOG", "args": [TWO, ONE]}),
        ["/seccomp/syscalls/1/action"],
    ),
    (
        contradiction(
            {"action": "SCMP_ACT_KILL", "names": ["a"], "args": [ONE]},
            {"action": "SCMP_ACT_KILL_THREAD", "names": ["a"], "args": [ONE]},
        ),
        [],
    ),
    (seccomp(syscalls=[NOTIFY], **AGENT), []),
    (seccomp(syscalls=[NOTIFY]), ["/seccomp/listenerPath"]),
    (seccomp(syscalls=[NOTIFY], listenerPath="agent"), ["/seccomp/listenerPath"]),
    (seccomp(syscalls=[NOTIFY | {"names": ["write", "sendmsg", "execve"]}], **AGENT), []),
    (seccomp(listenerMetadata="x"), ["/seccomp/listenerMetadata"]),
    (seccomp(listenerMetadata="x", **AGENT), []),
    (seccomp(flags=["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]), ["/seccomp/flags"]),
    (seccomp(flags=["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"], syscalls=[NOTIFY], **AGENT), []),
]
ROWS = NAMESPACES + OTHERS + SYSCTLS + RESOURCES + SECCOMP


@pytest.mark.parametrize(("changes", "pointers"), ROWS, ids=[str(row[0])[:80] for row in ROWS])
def test_each_rule_of_linux_accepts_what_is_valid_and_names_the_place_of_what_is_not(
    changes: dict[str, Any], pointers: list[str]
) -> None:
    """What reaches the kernel has been judged before anything was made."""
    spec = patched({f"/linux{pointer}": value for pointer, value in changes.items()})
    assert [problem.pointer for problem in check(spec)] == [f"/linux{pointer}" for pointer in pointers]


@pytest.mark.parametrize(
    ("user", "pointers"),
    [
        ({"uid": 9, "gid": 9, "additionalGids": [0, 9]}, []),
        ({"uid": 10, "gid": 0}, ["/process/user/uid"]),
        (
            {"uid": 0, "gid": 10, "additionalGids": [1, 10]},
            ["/process/user/gid", "/process/user/additionalGids/1"],
        ),
    ],
)
def test_the_ids_of_the_process_must_be_mapped_into_a_new_user_namespace(
    user: dict[str, Any], pointers: list[str]
) -> None:
    """setresuid(2) would fail with EINVAL deep inside the container, where the reason is hard to see."""
    changes = {f"/linux{pointer}": value for pointer, value in MAPPED.items()}
    spec = patched(changes | {"/process/user": user})
    assert [problem.pointer for problem in check(spec)] == pointers


def test_the_domain_name_must_not_be_set_to_two_values() -> None:
    """Which of both would win is nobody's guess."""
    changes = {"/linux/sysctl": {"kernel.domainname": "a"}}
    assert check(patched(changes | {"/domainname": "a"})) == []
    problems = check(patched(changes | {"/domainname": "b"}))
    assert [problem.pointer for problem in problems] == ["/linux/sysctl/kernel.domainname"]


@pytest.mark.parametrize(
    ("name", "path", "owner"),
    [
        ("kernel.msgmax", "kernel/msgmax", "ipc"),
        ("fs/mqueue/msg_max", "fs/mqueue/msg_max", "ipc"),
        ("net.ipv4.conf.eth0/1.forwarding", "net/ipv4/conf/eth0.1/forwarding", "network"),
        ("net/ipv4/conf/eth0.1/forwarding", "net/ipv4/conf/eth0.1/forwarding", "network"),
        ("kernel.hostname", "kernel/hostname", "uts"),
        ("user.max_mnt_namespaces", "user/max_mnt_namespaces", "user"),
        ("kernel.panic", "kernel/panic", None),
        ("net", "net", None),
    ],
)
def test_a_kernel_parameter_has_one_path_and_one_owner_however_it_is_written(
    name: str, path: str, owner: str | None
) -> None:
    """sysctl(8) takes both separators, so the check must judge the file and not the spelling."""
    assert sysctl_path(name) == path
    assert sysctl_namespace(path) == owner


def test_a_null_linux_part_is_refused_and_a_wrong_one_has_no_namespaces() -> None:
    """An empty template must not run a container in the host's namespaces."""
    assert "/linux" in [problem.pointer for problem in check(patched({"/linux": None}))]
    assert namespaces({"linux": []}) == namespaces({}) == namespaces(None) == {}
    assert namespaces(
        patched({"/linux/namespaces": [{"type": "pid", "path": "/x"}, {"type": "uts"}, 1]})
    ) == {
        "pid": "/x",
        "uts": None,
    }
