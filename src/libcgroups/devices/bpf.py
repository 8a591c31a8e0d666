"""bpf(2): load the device program, attach it to a cgroup, replace the one that was there.

Authority: bpf(2), linux/bpf.h (`union bpf_attr`), cgroup-v2.rst ("Device controller"). Needs
ctypes: Python has no other way to this system call. Needs CAP_BPF and CAP_NET_ADMIN, before Linux 5.8
CAP_SYS_ADMIN, in the initial user namespace.

Programs of several owners stand beside each other on a cgroup (BPF_F_ALLOW_MULTI), and an access passes when
all allow it, those of the ancestors too. Ours are known by their name, so that nobody else's (systemd's,
for example) is ever removed.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import struct
import sys

from libcgroups.devices.program import INSTRUCTION_BYTES, PROGRAM_NAME
from libcgroups.errors import CgroupError, NotPermitted, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcgroups.errors import Error

# The number of the system call in each architecture's table, for processes of 64 and of 32 bits.
_NUMBERS = {
    "aarch64": 280,
    "loongarch64": 280,
    "ppc64": 361,
    "ppc64le": 361,
    "riscv64": 280,
    "s390x": 351,
    "x86_64": 321,
}
_NUMBERS_32 = {"aarch64": 386, "armv6l": 386, "armv7l": 386, "armv8l": 386, "i686": 357, "x86_64": 357}
_COMMANDS = {  # enum bpf_cmd
    "BPF_PROG_LOAD": 5,
    "BPF_PROG_ATTACH": 8,
    "BPF_PROG_DETACH": 9,
    "BPF_PROG_GET_FD_BY_ID": 13,
    "BPF_OBJ_GET_INFO_BY_FD": 15,
    "BPF_PROG_QUERY": 16,
}
_PROG_TYPE_CGROUP_DEVICE = 15
_CGROUP_DEVICE = 6  # enum bpf_attach_type
_F_ALLOW_MULTI, _F_REPLACE = 2, 4
_LICENCE = b"GPL"
_LOG_BYTES = 1 << 20
_LOG_SHOWN = 800
_MOST_PROGRAMS = 64  # BPF_CGROUP_MAX_PROGS, per attach type and cgroup
_ENOUGH_LOCKED_MEMORY = 128 << 20
_INFO_BYTES, _INFO_NAME = 80, slice(64, 80)  # struct bpf_prog_info up to and with its name

_LIBRARY = ctypes.CDLL(None, use_errno=True)

_NOT_PERMITTED = (
    "run as root of the host (CAP_BPF and CAP_NET_ADMIN, before Linux 5.8 CAP_SYS_ADMIN), and check that no "
    "seccomp filter or kernel lockdown forbids bpf(2)"
)
_NOT_V2 = "the directory is no cgroup of the unified (v2) hierarchy, or the kernel has no CONFIG_CGROUP_BPF"
_REMEDIES = {
    ("BPF_PROG_LOAD", errno.EINVAL): "the kernel needs CONFIG_CGROUP_BPF and to be Linux 4.15 or later",
    ("BPF_PROG_LOAD", errno.E2BIG): "use fewer rules: before Linux 5.2 a program has 4096 instructions",
    ("BPF_PROG_ATTACH", errno.E2BIG): f"{_MOST_PROGRAMS} programs guard this cgroup already",
    ("BPF_PROG_ATTACH", errno.EINVAL): _NOT_V2,
    ("BPF_PROG_ATTACH", errno.EBADF): _NOT_V2,
    ("BPF_PROG_ATTACH", errno.EPERM): _NOT_PERMITTED
    + "; a program on an ancestor that allows no others (attached without BPF_F_ALLOW_MULTI) is a cause too",
    ("BPF_PROG_QUERY", errno.EINVAL): _NOT_V2,
    ("BPF_PROG_QUERY", errno.EBADF): _NOT_V2,
}


def install(directory: str, code: bytes) -> None:
    """Let the program `code` decide in the cgroup `directory`, in place of the one of ours that does now.

    At no moment is the cgroup without a program, and none of somebody else's is touched. The kernel keeps
    the program as long as the cgroup. Raises NotPermitted, Unsupported and CgroupError, with `syscall` "bpf".
    """
    program = load(code)
    cgroup = -1
    try:
        cgroup = _open(directory)
        _replace(cgroup, program, directory)
    finally:
        os.close(program)
        if cgroup >= 0:
            os.close(cgroup)


def load(code: bytes) -> int:
    """Return a descriptor of the loaded program; the caller closes it.

    What the kernel's verifier says about a program that it refuses is in the error. Raises as `install`.
    """
    try:
        return _load(code, None)
    except OSError as error:
        failure = error
    if failure.errno == errno.EPERM:
        # Before Linux 5.11 a program counts as locked memory, and exceeding that limit gives EPERM too.
        try:
            return _load_with_more_locked_memory(code)
        except OSError as error:
            failure = error
    if failure.errno in (errno.EPERM, errno.ENOSYS, errno.ENOMEM):
        raise _error("BPF_PROG_LOAD", failure, None) from failure
    log = ctypes.create_string_buffer(_LOG_BYTES)
    try:
        return _load(code, log)  # again only for the log: writing it takes time
    except OSError as error:
        raise _error("BPF_PROG_LOAD", error, None, _tail(log.value)) from error


def attached(directory: str) -> list[tuple[int, str]]:
    """Return the device programs of this very cgroup (not its ancestors'): [(id, name)], oldest first.

    Raises as `install`.
    """
    cgroup = _open(directory)
    try:
        found = []
        for number in _query(cgroup, directory):
            program = _open_program(number)
            if program is not None:
                found.append((number, _name(program).decode("ascii", "replace")))
                os.close(program)
        return found
    finally:
        os.close(cgroup)


def _replace(cgroup: int, program: int, directory: str) -> None:
    old = _ours(cgroup, directory)
    try:
        if len(old) == 1 and _swap(cgroup, program, old[0], directory):
            return
        _attach(cgroup, program, directory)
        for other in old:  # several only if a process died between these two calls
            _detach(cgroup, other, directory)
    finally:
        for other in old:
            os.close(other)


def _ours(cgroup: int, directory: str) -> list[int]:
    """Return descriptors of the programs of ours on the cgroup; the caller closes them."""
    found = []
    for number in _query(cgroup, directory):
        program = _open_program(number)
        if program is None:
            continue
        if _name(program) == PROGRAM_NAME:
            found.append(program)
        else:
            os.close(program)
    return found


def _open(directory: str) -> int:
    from libcgroups.cgroup import DIRECTORY
    from libcgroups.errors import from_os

    try:
        return os.open(directory, DIRECTORY)
    except OSError as error:
        raise from_os(error, "open", directory) from error


# One function for each command; each lays out its part of `union bpf_attr`.


def _load(code: bytes, log: ctypes.Array[ctypes.c_char] | None) -> int:
    instructions, licence = (
        ctypes.create_string_buffer(code, len(code)),
        ctypes.create_string_buffer(_LICENCE),
    )
    attributes = struct.pack(
        "=IIQQIIQII16s",
        _PROG_TYPE_CGROUP_DEVICE,
        len(code) // INSTRUCTION_BYTES,
        ctypes.addressof(instructions),
        ctypes.addressof(licence),
        0 if log is None else 1,  # log_level
        0 if log is None else _LOG_BYTES,
        0 if log is None else ctypes.addressof(log),
        0,  # kern_version: not for this type
        0,  # prog_flags
        PROGRAM_NAME,
    )
    return _bpf("BPF_PROG_LOAD", attributes)[0]


def _attach(cgroup: int, program: int, directory: str) -> None:
    try:
        _bpf("BPF_PROG_ATTACH", struct.pack("=IIII", cgroup, program, _CGROUP_DEVICE, _F_ALLOW_MULTI))
    except OSError as error:
        raise _error("BPF_PROG_ATTACH", error, directory) from error


def _swap(cgroup: int, program: int, old: int, directory: str) -> bool:
    """Put `program` in the place of `old` in one step; False where the kernel cannot (before Linux 5.6)."""
    flags = _F_ALLOW_MULTI | _F_REPLACE
    try:
        _bpf("BPF_PROG_ATTACH", struct.pack("=IIIII", cgroup, program, _CGROUP_DEVICE, flags, old))
    except OSError as error:
        # ENOENT: somebody else replaced it between our query and now.
        if error.errno in (errno.EINVAL, errno.E2BIG, errno.ENOENT):
            return False
        raise _error("BPF_PROG_ATTACH", error, directory) from error
    return True


def _detach(cgroup: int, program: int, directory: str) -> None:
    try:
        _bpf("BPF_PROG_DETACH", struct.pack("=III", cgroup, program, _CGROUP_DEVICE))
    except OSError as error:
        if error.errno != errno.ENOENT:  # gone already: what we wanted
            raise _error("BPF_PROG_DETACH", error, directory) from error


def _query(cgroup: int, directory: str) -> list[int]:
    numbers = (ctypes.c_uint32 * _MOST_PROGRAMS)()
    layout = "=IIIIQI"  # target_fd, attach_type, query_flags, attach_flags, prog_ids, prog_cnt
    asked = struct.pack(layout, cgroup, _CGROUP_DEVICE, 0, 0, ctypes.addressof(numbers), _MOST_PROGRAMS)
    try:
        _, answer = _bpf("BPF_PROG_QUERY", asked)
    except OSError as error:
        raise _error("BPF_PROG_QUERY", error, directory) from error
    return list(numbers[: struct.unpack(layout, answer)[-1]])


def _open_program(number: int) -> int | None:
    """Return a descriptor of the program with the id `number`, None when it is gone."""
    try:
        return _bpf("BPF_PROG_GET_FD_BY_ID", struct.pack("=III", number, 0, 0))[0]
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _error("BPF_PROG_GET_FD_BY_ID", error, None) from error


def _name(program: int) -> bytes:
    information = ctypes.create_string_buffer(_INFO_BYTES)
    asked = struct.pack("=IIQ", program, _INFO_BYTES, ctypes.addressof(information))
    try:
        _bpf("BPF_OBJ_GET_INFO_BY_FD", asked)
    except OSError as error:
        raise _error("BPF_OBJ_GET_INFO_BY_FD", error, None) from error
    return information.raw[_INFO_NAME].partition(b"\0")[0]


def _bpf(command: str, attributes: bytes) -> tuple[int, bytes]:
    """Call bpf(2) and return its result and the attributes as the kernel left them. Raises OSError."""
    numbers = _NUMBERS if sys.maxsize > 1 << 32 else _NUMBERS_32
    number = numbers.get(os.uname().machine)
    if number is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    while True:
        result = _LIBRARY.syscall(
            ctypes.c_long(number), ctypes.c_long(_COMMANDS[command]), buffer, ctypes.c_ulong(len(attributes))
        )
        if result >= 0:
            return result, buffer.raw
        # EAGAIN: the verifier gives way to a signal (bpf(2) of Linux 5.0 and later).
        if ctypes.get_errno() not in (errno.EINTR, errno.EAGAIN):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _load_with_more_locked_memory(code: bytes) -> int:
    """Load with RLIMIT_MEMLOCK as high as needed and permitted, then put it back: children inherit it."""
    limits = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    infinite = resource.RLIM_INFINITY in limits
    hard = resource.RLIM_INFINITY if infinite else max(limits[1], _ENOUGH_LOCKED_MEMORY)
    for wanted in ((_ENOUGH_LOCKED_MEMORY, hard), (limits[1], limits[1])):
        try:
            resource.setrlimit(resource.RLIMIT_MEMLOCK, wanted)
        except (OSError, ValueError):
            continue  # above the hard limit without CAP_SYS_RESOURCE: the hard limit is what can be had
        break
    try:
        return _load(code, None)
    finally:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, limits)


def _tail(log: bytes) -> str:
    text = " ".join(log.decode("ascii", "replace").split())
    return text if len(text) <= _LOG_SHOWN else "…" + text[-_LOG_SHOWN:]


def _error(command: str, error: OSError, directory: str | None, log: str = "") -> Error:
    number = error.errno or 0
    what = f"cannot guard the devices{'' if directory is None else f' of {directory}'}: bpf {command}"
    message = f"{what}: {os.strerror(number)} ({errno.errorcode.get(number, number)})"
    if log:
        message += f"; the kernel's verifier says: {log}"
    remedy = _REMEDIES.get((command, number))
    if number in (errno.EPERM, errno.EACCES) and not log:
        kind: type[Error] = NotPermitted
        remedy = remedy or _NOT_PERMITTED
    elif number == errno.ENOSYS:
        kind, remedy = Unsupported, "the kernel needs CONFIG_BPF_SYSCALL and CONFIG_CGROUP_BPF (Linux 4.15)"
    else:
        kind = CgroupError
    return kind(message, path=directory, errno=number, syscall="bpf", remedy=remedy, pointer="/devices")
