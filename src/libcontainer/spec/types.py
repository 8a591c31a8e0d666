"""The types of config.json, for type checkers and editors: runtime-spec 1.3, config.md and config-linux.md.

Nothing on the hot path imports this at run time: a configuration is plain JSON data, and stays so. A member
that is not marked `Required` may be absent.
"""

from __future__ import annotations

from typing import Literal, Required, TypeAlias, TypedDict

__all__ = [
    "BlockIO",
    "Capabilities",
    "ConsoleSize",
    "Cpu",
    "CpuAffinity",
    "Device",
    "DeviceRule",
    "DeviceThrottle",
    "DeviceWeight",
    "Hook",
    "Hooks",
    "HugepageLimit",
    "IdMapping",
    "IntelRdt",
    "InterfacePriority",
    "IoPriority",
    "Linux",
    "Memory",
    "MemoryPolicy",
    "Mount",
    "Namespace",
    "NamespaceType",
    "NetDevice",
    "Network",
    "Personality",
    "Pids",
    "Process",
    "Rdma",
    "Resources",
    "Rlimit",
    "Root",
    "Scheduler",
    "Seccomp",
    "SeccompAction",
    "SeccompArgument",
    "SeccompSyscall",
    "Spec",
    "TimeOffset",
    "TimeOffsets",
    "User",
]

NamespaceType: TypeAlias = Literal["pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time"]

SeccompAction: TypeAlias = Literal[
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_TRAP",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
]


class Root(TypedDict, total=False):
    """The root file system: a directory, absolute or relative to the bundle."""

    path: Required[str]
    readonly: bool


class IdMapping(TypedDict):
    """`size` ids from `containerID` on inside are those from `hostID` on outside."""

    containerID: int
    hostID: int
    size: int


class Mount(TypedDict, total=False):
    """One mount; bound where the options say so, from a path that may be relative to the bundle."""

    destination: Required[str]
    type: str
    source: str
    options: list[str]
    uidMappings: list[IdMapping]
    gidMappings: list[IdMapping]


class ConsoleSize(TypedDict):
    """The size of the terminal in characters."""

    height: int
    width: int


class User(TypedDict, total=False):
    """Who the process is, by the ids of the container."""

    uid: int
    gid: int
    umask: int
    additionalGids: list[int]
    username: str


class Capabilities(TypedDict, total=False):
    """The five sets, each a list of names such as CAP_KILL."""

    bounding: list[str]
    effective: list[str]
    inheritable: list[str]
    permitted: list[str]
    ambient: list[str]


class Rlimit(TypedDict):
    """One resource limit; 2**64 - 1 is no limit."""

    type: str
    soft: int
    hard: int


class Scheduler(TypedDict, total=False):
    """The scheduling policy; times in nanoseconds."""

    policy: Required[str]
    nice: int
    priority: int
    flags: list[str]
    runtime: int
    deadline: int
    period: int


# `class` is a keyword, so this one has the form of a call.
IoPriority = TypedDict("IoPriority", {"class": Required[str], "priority": int}, total=False)


class CpuAffinity(TypedDict, total=False):
    """The CPUs of a process of exec, before and after it is in the container's cgroup."""

    initial: str
    final: str


class Process(TypedDict, total=False):
    """What runs."""

    terminal: bool
    consoleSize: ConsoleSize
    cwd: Required[str]
    env: list[str]
    args: Required[list[str]]
    user: User
    capabilities: Capabilities
    rlimits: list[Rlimit]
    noNewPrivileges: bool
    apparmorProfile: str
    selinuxLabel: str
    oomScoreAdj: int
    scheduler: Scheduler
    ioPriority: IoPriority
    execCPUAffinity: CpuAffinity


class Hook(TypedDict, total=False):
    """A program that is run at a moment of the container's life; `timeout` in seconds."""

    path: Required[str]
    args: list[str]
    env: list[str]
    timeout: int


class Hooks(TypedDict, total=False):
    """The hooks by moment, each in its order."""

    prestart: list[Hook]
    createRuntime: list[Hook]
    createContainer: list[Hook]
    startContainer: list[Hook]
    poststart: list[Hook]
    poststop: list[Hook]


class Namespace(TypedDict, total=False):
    """A namespace of the container's own: a new one, or with `path` the one there."""

    type: Required[NamespaceType]
    path: str


class TimeOffset(TypedDict, total=False):
    """How far a clock is shifted."""

    secs: int
    nanosecs: int


class TimeOffsets(TypedDict, total=False):
    """The clocks that a time namespace shifts."""

    boottime: TimeOffset
    monotonic: TimeOffset


class Device(TypedDict, total=False):
    """A device node; `fileMode` as a number, major and minor not for type p."""

    type: Required[Literal["c", "u", "b", "p"]]
    path: Required[str]
    major: int
    minor: int
    fileMode: int
    uid: int
    gid: int


class NetDevice(TypedDict, total=False):
    """A network interface that is moved into the container, and its name there."""

    name: str


class DeviceRule(TypedDict, total=False):
    """Access to devices; an absent (or null) type, major or minor means any."""

    allow: Required[bool]
    type: Literal["a", "b", "c"] | None
    major: int | None
    minor: int | None
    access: str


class Memory(TypedDict, total=False):
    """Limits in bytes, -1 for none; `swap` is memory and swap together."""

    limit: int
    reservation: int
    swap: int
    kernel: int
    kernelTCP: int
    swappiness: int
    disableOOMKiller: bool
    useHierarchy: bool
    checkBeforeUpdate: bool


class Cpu(TypedDict, total=False):
    """Shares, bandwidth in microseconds, and sets of CPUs and memory nodes."""

    shares: int
    quota: int
    burst: int
    period: int
    realtimeRuntime: int
    realtimePeriod: int
    cpus: str
    mems: str
    idle: int


class Pids(TypedDict):
    """How many tasks; -1 for no limit."""

    limit: int


class DeviceWeight(TypedDict, total=False):
    """The I/O weight of one block device."""

    major: Required[int]
    minor: Required[int]
    weight: int
    leafWeight: int


class DeviceThrottle(TypedDict):
    """The I/O rate of one block device: bytes or operations per second."""

    major: int
    minor: int
    rate: int


class BlockIO(TypedDict, total=False):
    """Block I/O weights and rates."""

    weight: int
    leafWeight: int
    weightDevice: list[DeviceWeight]
    throttleReadBpsDevice: list[DeviceThrottle]
    throttleWriteBpsDevice: list[DeviceThrottle]
    throttleReadIOPSDevice: list[DeviceThrottle]
    throttleWriteIOPSDevice: list[DeviceThrottle]


class HugepageLimit(TypedDict):
    """The limit in bytes of huge pages of one size, such as 2MB."""

    pageSize: str
    limit: int


class InterfacePriority(TypedDict):
    """The priority of the traffic on one network interface."""

    name: str
    priority: int


class Network(TypedDict, total=False):
    """Class and priorities of network traffic (cgroup v1)."""

    classID: int
    priorities: list[InterfacePriority]


class Rdma(TypedDict, total=False):
    """The limits of one RDMA device."""

    hcaHandles: int
    hcaObjects: int


class Resources(TypedDict, total=False):
    """The limits of the container's cgroup; `unified` by file name (cgroup v2)."""

    devices: list[DeviceRule]
    memory: Memory
    cpu: Cpu
    pids: Pids
    blockIO: BlockIO
    hugepageLimits: list[HugepageLimit]
    network: Network
    rdma: dict[str, Rdma]
    unified: dict[str, str]


class SeccompArgument(TypedDict, total=False):
    """A comparison of one argument of a system call."""

    index: Required[int]
    value: Required[int]
    valueTwo: int
    op: Required[str]


class SeccompSyscall(TypedDict, total=False):
    """What happens at some system calls."""

    names: Required[list[str]]
    action: Required[SeccompAction]
    errnoRet: int
    args: list[SeccompArgument]


class Seccomp(TypedDict, total=False):
    """The filter of system calls."""

    defaultAction: Required[SeccompAction]
    defaultErrnoRet: int
    architectures: list[str]
    flags: list[str]
    listenerPath: str
    listenerMetadata: str
    syscalls: list[SeccompSyscall]


class IntelRdt(TypedDict, total=False):
    """Cache and memory bandwidth through resctrl."""

    closID: str
    schemata: list[str]
    l3CacheSchema: str
    memBwSchema: str
    enableMonitoring: bool


class Personality(TypedDict, total=False):
    """The execution domain; no flags are defined."""

    domain: Required[Literal["LINUX", "LINUX32"]]
    flags: list[str]


class MemoryPolicy(TypedDict, total=False):
    """The NUMA policy of the process."""

    mode: Required[str]
    nodes: str
    flags: list[str]


class Linux(TypedDict, total=False):
    """What only Linux has."""

    namespaces: list[Namespace]
    uidMappings: list[IdMapping]
    gidMappings: list[IdMapping]
    timeOffsets: TimeOffsets
    devices: list[Device]
    netDevices: dict[str, NetDevice]
    cgroupsPath: str
    resources: Resources
    intelRdt: IntelRdt
    rootfsPropagation: str
    maskedPaths: list[str]
    readonlyPaths: list[str]
    mountLabel: str
    sysctl: dict[str, str]
    seccomp: Seccomp
    personality: Personality
    memoryPolicy: MemoryPolicy


class Spec(TypedDict, total=False):
    """A whole config.json."""

    ociVersion: Required[str]
    root: Required[Root]
    mounts: list[Mount]
    process: Process
    hostname: str
    domainname: str
    hooks: Hooks
    annotations: dict[str, str]
    linux: Linux
