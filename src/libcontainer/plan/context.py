"""What the compilers of the single concerns share: the spec, the host, the options, and the descriptors that
a plan needs.

On the hot path: imports nothing heavy.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from libcontainer.host import Host
    from libcontainer.mount_options import Request
    from libcontainer.plan.operations import Op

# Namespace types of the runtime-spec and their clone(2) flags.
NAMESPACES = {
    "time": 0x80,
    "mount": 0x20000,
    "cgroup": 0x2000000,
    "uts": 0x4000000,
    "ipc": 0x8000000,
    "user": 0x10000000,
    "pid": 0x20000000,
    "network": 0x40000000,
}


class Options:
    """What the caller decides and config.json does not say. Keyword arguments set the attributes.

    `container_id`, `bundle` and `rootfs` (absolute, resolved) name the container. `no_pivot` moves the root
    instead of pivot_root(2). `no_new_keyring` keeps the caller's session keyring. `as_sibling` leaves init to
    the nearest subreaper instead of the runtime. The descriptors from 3 on that reach the payload are
    `listen_fds` by the LISTEN_FDS protocol (sd_listen_fds(3)) and `preserve_fds` after them. `cgroup_mode` is
    the host's arrangement ("v1", "hybrid", "v2", "none") and `cgroups` the container's cgroups
    (libcgroups.cgroup.Cgroup). With `self_join` stage two enters them itself (v1), or is born in the
    unified one, instead of the runtime moving stage one; `device_program` is what stage one attaches to that
    before, if it may (libcontainer.devices.guard). `notify_directory` is that of the notify socket
    (libcontainer.notify_socket), None without one.
    """

    container_id = "container"
    bundle = "/"
    rootfs = "/"
    no_pivot = False
    no_new_keyring = False
    as_sibling = False
    preserve_fds = 0
    listen_fds = 0
    cgroup_mode = "none"
    cgroups: Any = ()
    self_join = False
    device_program = b""
    notify_directory: str | None = None

    def __init__(self, **values: Any) -> None:
        for name in values:
            if not hasattr(Options, name):
                raise TypeError(f"no option {name!r}")
        self.__dict__.update(values)

    @property
    def passed_fds(self) -> int:
        """How many descriptors, counted from 3, reach the payload."""
        return self.preserve_fds + self.listen_fds


class Descriptor:
    """A file descriptor that accompanies the plan: `kind` says how the runtime gets it, `detail` of what,
    `pointer` for whom.

    Kinds: "listener" (the start socket), "namespace" (detail: path, CLONE_NEW flag), "mapping" (detail: uid
    and gid mappings, of which a user namespace is made for an idmapped mount), "tasks" (detail: a v1 cgroup's
    directory) and "cgroup" (detail: a v2 cgroup's directory). Of a running container's first process, for a
    tenant: "process" (a pidfd), "process namespace" (detail: its type) and "process root".
    """

    __slots__ = ("detail", "kind", "pointer")

    def __init__(self, kind: str, detail: Any = None, pointer: str = "") -> None:
        self.kind = kind
        self.detail = detail
        self.pointer = pointer

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Descriptor) and (self.kind, self.detail) == (other.kind, other.detail)

    def __hash__(self) -> int:
        return hash(self.kind)

    def __repr__(self) -> str:
        return f"Descriptor({self.kind!r}, {self.detail!r}, {self.pointer!r})"


class Part:
    """A part of a plan: its operations, what could not be granted by them, in sentences, and the wire form once
    that has been asked for.
    """

    __slots__ = ("_wire", "ops", "warnings")

    def __init__(self, ops: list[Op], warnings: Sequence[str] = ()) -> None:
        self.ops = ops
        self.warnings = warnings
        self._wire: tuple[int, bytes] | None = None

    def encoded(self, descriptors: int) -> bytes:
        """Return the wire form; `descriptors` counts those of this part and of the parts before it."""
        if self._wire is None or self._wire[0] != descriptors:
            from libcontainer.plan.encode import encode

            self._wire = descriptors, encode(self.ops, descriptors)
        return self._wire[1]


class Plan:
    """An ordered list of operations and the descriptors that they name by index.

    `first` is what init gets first. `later` are the parts that follow, each behind an AwaitPlan at the end of the
    one before; they are compiled when they are asked for and only once, and may add descriptors.
    """

    __slots__ = ("_compilers", "_later", "descriptors", "first")

    def __init__(
        self, first: list[Op], descriptors: list[Descriptor], compilers: Sequence[Callable[[], Part]] = ()
    ) -> None:
        self.first = first
        self.descriptors = descriptors
        self._compilers = compilers
        self._later: list[Part] = []

    @property
    def later(self) -> Iterator[Part]:
        """The parts after the first one."""
        for index, compiler in enumerate(self._compilers):
            if index == len(self._later):
                self._later.append(compiler())
            yield self._later[index]

    @property
    def ops(self) -> list[Op]:
        """All operations."""
        return [*self.first, *[op for part in self.later for op in part.ops]]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What could not be granted, in sentences: no error, says the spec (config.md "capabilities")."""
        return tuple([sentence for part in self.later for sentence in part.warnings])


class Context:
    """One container to be compiled.

    `spec` is checked OCI data, `namespaces` maps each listed type to its path or None for a new one.
    """

    def __init__(self, spec: dict[str, Any], host: Host, options: Options) -> None:
        self.spec = spec
        self.process: dict[str, Any] = spec.get("process") or {}
        self.linux: dict[str, Any] = spec.get("linux") or {}
        self.host = host
        self.options = options
        listed = self.linux.get("namespaces") or []
        self.namespaces: dict[str, str | None] = {item["type"]: item.get("path") or None for item in listed}
        self.pointers = {item["type"]: f"/linux/namespaces/{index}" for index, item in enumerate(listed)}
        self.descriptors: list[Descriptor] = []
        self.mounts: list[Request] | None = None  # read once by libcontainer.mounts.requests
        self.warnings: list[str] = []  # what cannot be granted, in sentences

    def has(self, namespace: str) -> bool:
        """Tell whether the container gets a namespace of its own of this type, new or joined."""
        return namespace in self.namespaces

    def makes(self, namespace: str) -> bool:
        """Tell whether a new namespace of this type is made."""
        return namespace in self.namespaces and self.namespaces[namespace] is None

    @property
    def userns(self) -> bool:
        """Whether the container runs in a user namespace of its own, new or joined."""
        return "user" in self.namespaces

    def descriptor(self, kind: str, detail: Any = None, pointer: str = "") -> int:
        """Ask for a descriptor and return its index; the same request is made once."""
        for index, known in enumerate(self.descriptors):
            if known.kind == kind and known.detail == detail:
                return index
        self.descriptors.append(Descriptor(kind, detail, pointer))
        return len(self.descriptors) - 1


class TenantContext(Context):
    """A tenant to be compiled: no namespace is made for it, it joins those that the container has."""

    def makes(self, namespace: str) -> bool:  # noqa: ARG002  # whatever its type
        """Tell whether a new namespace of this type is made: never."""
        return False
