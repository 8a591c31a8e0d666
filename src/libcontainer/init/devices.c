/* The device rules on cgroup v2: an eBPF program, compiled by the runtime, which the kernel asks about each access.
 *
 * linux/bpf.h (`union bpf_attr`), bpf(2), cgroup-v2.rst "Device controller". */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kernel.h"
#include "operations.h"
#include "path.h"

#define PROG_LOAD 5
#define PROG_ATTACH 8
#define PROG_TYPE_CGROUP_DEVICE 15
#define CGROUP_DEVICE 6
#define ALLOW_MULTI 2
#define INSTRUCTION_SIZE 8 /* struct bpf_insn */

struct load {
	uint32_t type, instruction_count;
	uint64_t instructions, licence;
	uint32_t log_level, log_size;
	uint64_t log;
	uint32_t kernel_version, flags;
	char name[16];
};

struct attach {
	uint32_t cgroup, program, type, flags;
};

_Static_assert(sizeof(struct load) == 64, "the start of union bpf_attr for BPF_PROG_LOAD");

static int bpf(int command, const void *attributes, size_t size)
{
	int result;

	do /* EAGAIN: the verifier gives way to a signal */
		result = (int)syscall(SYS_bpf, command, attributes, size);
	while (result < 0 && (errno == EAGAIN || errno == EINTR));
	return result;
}

int op_guard_devices(struct run *run, const struct guard_devices *op)
{
	struct load load = {
		.type = PROG_TYPE_CGROUP_DEVICE,
		.instruction_count = op->program.length / INSTRUCTION_SIZE,
		.instructions = (uintptr_t)text(run, op->program),
		.licence = (uintptr_t) "GPL",
	};
	struct attach attach = { .cgroup = (uint32_t)run->fds[op->cgroup],
				 .type = CGROUP_DEVICE,
				 .flags = ALLOW_MULTI };
	_cleanup_close_ int program = -1;

	strncpy(load.name, text(run, op->name), sizeof(load.name) - 1);
	program = bpf(PROG_LOAD, &load, sizeof(load));
	if (program < 0)
		return fail(run, errno, "bpf", "BPF_PROG_LOAD");
	attach.program = (uint32_t)program;
	if (bpf(PROG_ATTACH, &attach, sizeof(attach)) < 0)
		return fail(run, errno, "bpf", "BPF_PROG_ATTACH");
	return 0;
}
