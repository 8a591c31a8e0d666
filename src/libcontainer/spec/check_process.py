"""The check of `process`: config.md "Process", and of process.json, which holds the same object.

Also of hooks' and others' environment. Pure. On the hot path.
"""

from __future__ import annotations

from libcontainer.errors import Problem
from libcontainer.spec.rules import (
    ID,
    INT32,
    LINE,
    LONGEST_LIST,
    TEXTS,
    UINT16,
    UINT64,
    Array,
    Choice,
    Integer,
    Record,
    Text,
    absolute,
    boolean,
    check_types_once,
    integer,
    is_numbers_list,
    strings,
    text,
    word,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LONGEST_STRING = 131071
"""MAX_ARG_STRLEN without the NUL: the kernel takes no longer argument or environment string (execve(2))."""

LONGEST_ARGUMENTS = 6 * 1024 * 1024
"""The kernel never takes more bytes of arguments and environment than this: 3/4 of _STK_LIM (execve(2))."""

MOST_CPUS = 8192
"""The largest NR_CPUS that Linux can be built with."""

REALTIME_POLICIES = ("SCHED_FIFO", "SCHED_RR")
DEADLINE_FIELDS = ("runtime", "deadline", "period")
# sched(7): below 1024 ns the kernel's resolution ends; 2^63 is the first value that it refuses.
LEAST_RUNTIME_NS = 1024
DEADLINE_LIMIT_NS = 2**63


def _is_environment_entry(value: str) -> bool:
    return value.find("=") > 0 and len(value) <= LONGEST_STRING


def _is_argument(value: str) -> bool:
    return len(value) <= LONGEST_STRING


def _is_cpu_list(value: str) -> bool:
    return is_numbers_list(value, MOST_CPUS - 1)


def _check_rlimit(limit: dict[str, Any], here: str, problems: list[Problem]) -> None:
    soft, hard = integer(limit, "soft"), integer(limit, "hard")
    if soft is not None and hard is not None and soft > hard:
        problems.append(Problem(f"{here}/soft", str(soft), f"at most the hard limit, {hard}"))


def _check_rlimits(limits: list[Any], here: str, problems: list[Problem]) -> None:
    check_types_once(limits, here, "limit", problems)


def _check_scheduler(scheduler: dict[str, Any], here: str, problems: list[Problem]) -> None:
    policy = word(scheduler, "policy")
    if policy is None:
        return
    priority = integer(scheduler, "priority") or 0
    if policy in REALTIME_POLICIES and not 1 <= priority <= 99:
        problems.append(Problem(f"{here}/priority", str(priority), f"an integer from 1 to 99 with {policy}"))
    if policy not in REALTIME_POLICIES and priority:
        expected = "0: only SCHED_FIFO and SCHED_RR have priorities"
        problems.append(Problem(f"{here}/priority", str(priority), expected))
    if policy == "SCHED_DEADLINE":
        _check_deadline(scheduler, here, problems)
        return
    for name in DEADLINE_FIELDS:
        if integer(scheduler, name):
            expected = "0: only SCHED_DEADLINE has this"
            problems.append(Problem(f"{here}/{name}", str(scheduler[name]), expected))


def _check_deadline(scheduler: dict[str, Any], here: str, problems: list[Problem]) -> None:
    """sched_setattr(2): runtime <= deadline <= period, where a period of 0 stands for the deadline."""
    runtime, deadline = integer(scheduler, "runtime") or 0, integer(scheduler, "deadline") or 0
    period = integer(scheduler, "period") or deadline
    if not LEAST_RUNTIME_NS <= runtime <= max(deadline, LEAST_RUNTIME_NS):
        expected = f"nanoseconds from {LEAST_RUNTIME_NS} to the deadline"
        problems.append(Problem(f"{here}/runtime", str(runtime), expected))
    if not 0 < deadline <= min(period, DEADLINE_LIMIT_NS - 1):
        expected = f"nanoseconds from 1 to the period, below {DEADLINE_LIMIT_NS}"
        problems.append(Problem(f"{here}/deadline", str(deadline), expected))
    if period >= DEADLINE_LIMIT_NS > deadline:
        problems.append(Problem(f"{here}/period", str(period), f"nanoseconds below {DEADLINE_LIMIT_NS}"))


def _check_whole(process: dict[str, Any], here: str, problems: list[Problem]) -> None:
    arguments = strings(process, "args")
    if arguments and not arguments[0] and isinstance(process["args"][0], str):
        problems.append(Problem(f"{here}/args/0", '""', "the name of a program"))
    size = sum(map(len, arguments)) + sum(map(len, strings(process, "env")))
    if size > LONGEST_ARGUMENTS:
        expected = f"at most {LONGEST_ARGUMENTS} bytes, all that execve(2) takes"
        problems.append(Problem(f"{here}/args", f"{size} bytes with the environment", expected))


ENVIRONMENT = Array(Text(f"NAME=value of at most {LONGEST_STRING} bytes", _is_environment_entry))
CPU_LIST = Text("a list of CPUs such as 0-3,7", _is_cpu_list)

CONSOLE_SIZE = Record(
    # struct winsize has 16 bits for each (ioctl_tty(2)).
    {"height": UINT16, "width": UINT16},
    ("height", "width"),
)
USER = Record(
    {
        "uid": ID,
        "gid": ID,
        "umask": Integer(0, 0o7777),
        "additionalGids": Array(ID),
        "username": text,
    }
)
CAPABILITIES = Record(
    # The names are not judged: an unknown one is a warning (config.md), see spec.check.warnings.
    dict.fromkeys(("bounding", "effective", "inheritable", "permitted", "ambient"), TEXTS)
)
RLIMITS = Array(
    Record(
        {
            "type": Choice(
                "RLIMIT_AS",
                "RLIMIT_CORE",
                "RLIMIT_CPU",
                "RLIMIT_DATA",
                "RLIMIT_FSIZE",
                "RLIMIT_LOCKS",
                "RLIMIT_MEMLOCK",
                "RLIMIT_MSGQUEUE",
                "RLIMIT_NICE",
                "RLIMIT_NOFILE",
                "RLIMIT_NPROC",
                "RLIMIT_RSS",
                "RLIMIT_RTPRIO",
                "RLIMIT_RTTIME",
                "RLIMIT_SIGPENDING",
                "RLIMIT_STACK",
            ),
            "soft": UINT64,
            "hard": UINT64,
        },
        ("type", "soft", "hard"),
        also=_check_rlimit,
    ),
    also=_check_rlimits,
)
SCHEDULER = Record(
    {
        "policy": Choice(
            "SCHED_OTHER",
            "SCHED_FIFO",
            "SCHED_RR",
            "SCHED_BATCH",
            "SCHED_ISO",
            "SCHED_IDLE",
            "SCHED_DEADLINE",
        ),
        "nice": Integer(-20, 19),
        "priority": INT32,
        "flags": Array(
            Choice(
                "SCHED_FLAG_RESET_ON_FORK",
                "SCHED_FLAG_RECLAIM",
                "SCHED_FLAG_DL_OVERRUN",
                "SCHED_FLAG_KEEP_POLICY",
                "SCHED_FLAG_KEEP_PARAMS",
                "SCHED_FLAG_UTIL_CLAMP_MIN",
                "SCHED_FLAG_UTIL_CLAMP_MAX",
            )
        ),
        "runtime": UINT64,
        "deadline": UINT64,
        "period": UINT64,
    },
    ("policy",),
    also=_check_scheduler,
)
IO_PRIORITY = Record(
    {
        "class": Choice("IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE"),
        "priority": Integer(0, 7),
    },
    ("class",),
)
PROCESS = Record(
    {
        "terminal": boolean,
        "consoleSize": CONSOLE_SIZE,
        "cwd": absolute,
        "env": ENVIRONMENT,
        "args": Array(
            Text(f"a string of at most {LONGEST_STRING} bytes without NUL", _is_argument),
            least=1,
            most=LONGEST_LIST,
        ),
        "user": USER,
        "capabilities": CAPABILITIES,
        "rlimits": RLIMITS,
        "noNewPrivileges": boolean,
        "apparmorProfile": LINE,
        "selinuxLabel": LINE,
        "oomScoreAdj": Integer(-1000, 1000),
        "scheduler": SCHEDULER,
        "ioPriority": IO_PRIORITY,
        "execCPUAffinity": Record({"initial": CPU_LIST, "final": CPU_LIST}),
    },
    ("args", "cwd"),
    firm=("noNewPrivileges", "apparmorProfile", "selinuxLabel", "user", "rlimits"),
    also=_check_whole,
)
