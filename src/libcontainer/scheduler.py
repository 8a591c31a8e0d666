"""CPU scheduling and I/O priority: config.md "scheduler", "ioPriority"; sched_setattr(2), ioprio_set(2)."""

from __future__ import annotations

from libcontainer.plan import operations as do

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from libcontainer.plan.context import Context
    from libcontainer.plan.operations import Op

POLICIES = {
    "SCHED_OTHER": 0,
    "SCHED_FIFO": 1,
    "SCHED_RR": 2,
    "SCHED_BATCH": 3,
    "SCHED_ISO": 4,
    "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}
FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 0x01,
    "SCHED_FLAG_RECLAIM": 0x02,
    "SCHED_FLAG_DL_OVERRUN": 0x04,
    "SCHED_FLAG_KEEP_POLICY": 0x08,
    "SCHED_FLAG_KEEP_PARAMS": 0x10,
    "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
}
REALTIME_POLICIES = ("SCHED_FIFO", "SCHED_RR")
IO_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
IO_CLASS_SHIFT = 13


def compile_scheduler(context: Context) -> Iterator[Op]:
    """Yield the scheduling policy and the I/O priority, where requested."""
    scheduler = context.process.get("scheduler")
    if scheduler:
        cpu = (context.linux.get("resources") or {}).get("cpu") or {}
        if scheduler["policy"] in REALTIME_POLICIES and cpu.get("realtimeRuntime"):
            # A cpu cgroup of v1 takes real-time processes only once it has a budget for them: sched(7).
            yield do.Sync(pointer="/linux/resources/cpu/realtimeRuntime", point=do.SYNC_LIMITS)
        yield do.SetScheduler(
            pointer="/process/scheduler",
            policy=POLICIES[scheduler["policy"]],
            flags=sum([FLAGS[flag] for flag in set(scheduler.get("flags") or ())]),
            nice=scheduler.get("nice") or 0,
            priority=scheduler.get("priority") or 0,
            runtime=scheduler.get("runtime") or 0,
            deadline=scheduler.get("deadline") or 0,
            period=scheduler.get("period") or 0,
        )
    priority = context.process.get("ioPriority")
    if priority:
        value = IO_CLASSES[priority["class"]] << IO_CLASS_SHIFT | (priority.get("priority") or 0)
        yield do.SetIoPriority(pointer="/process/ioPriority", value=value)
