/* What a container and its process are given besides files: names, sysctls, labels, scheduling.  config.md, config-linux.md. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kernel.h"
#include "operations.h"
#include "path.h"
#include "procfs.h"

int op_set_hostname(struct run *run, const struct set_hostname *op)
{
	return sethostname(text(run, op->name), op->name.length) < 0
		       ? fail(run, errno, "sethostname", text(run, op->name))
		       : 0;
}

int op_set_domainname(struct run *run, const struct set_domainname *op)
{
	return setdomainname(text(run, op->name), op->name.length) < 0
		       ? fail(run, errno, "setdomainname", text(run, op->name))
		       : 0;
}

int op_write_sysctl(struct run *run, const struct write_sysctl *op)
{
	char path[512];

	if (snprintf(path, sizeof(path), "sys/%s", text(run, op->path)) >= (int)sizeof(path))
		return fail(run, ENAMETOOLONG, "open", text(run, op->path));
	return write_procfs(run, path, text(run, op->value));
}

/* A label that was written is read back: a write that "succeeds" elsewhere leaves the payload unconfined (CVE-2025-52881). */
int op_write_label(struct run *run, const struct write_label *op)
{
	const char *label = text(run, op->label);
	char path[128], seen[1024];
	_cleanup_close_ int fd = -1;
	ssize_t size;

	if (write_own(run, text(run, op->attribute), label) < 0)
		return -1;
	if (own_path(run, text(run, op->attribute), path, sizeof(path)) < 0)
		return fail(run, ENOENT, "readlink", "/proc/self");
	fd = open_beneath_real(run->proc_fd, path, O_RDONLY | O_CLOEXEC);
	size = fd < 0 ? -1 : read(fd, seen, sizeof(seen) - 1);
	if (size < 0)
		return fail(run, errno, "read", path);
	seen[size] = 0;
	seen[strcspn(seen, "\n")] = 0;
	/* AppArmor is written as "exec PROFILE" and read as "PROFILE (mode)". */
	if (strncmp(label, "exec ", 5) == 0) {
		label += 5;
		seen[strcspn(seen, " ")] = 0;
	}
	return strcmp(seen, label) == 0 ? 0 : fail(run, EPERM, "read", path);
}

int op_set_umask(struct run *run, const struct set_umask *op)
{
	(void)run;
	(void)umask((mode_t)op->mask);
	return 0;
}

int op_set_no_new_privileges(struct run *run, const struct set_no_new_privileges *op)
{
	(void)op;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? fail(run, errno, "prctl", "PR_SET_NO_NEW_PRIVS") : 0;
}

int op_set_scheduler(struct run *run, const struct set_scheduler *op)
{
	struct {
		uint32_t size, policy;
		uint64_t flags;
		int32_t nice;
		uint32_t priority;
		uint64_t runtime, deadline, period;
	} attributes = {
		.size = 48,
		.policy = (uint32_t)op->policy,
		.flags = (uint64_t)op->flags,
		.nice = (int32_t)op->nice,
		.priority = (uint32_t)op->priority,
		.runtime = (uint64_t)op->runtime,
		.deadline = (uint64_t)op->deadline,
		.period = (uint64_t)op->period,
	};

	return syscall(SYS_sched_setattr, 0, &attributes, 0) < 0 ? fail(run, errno, "sched_setattr", NULL) : 0;
}

/* Of a mask with every bit set the kernel takes those of the cpuset. */
int op_set_affinity(struct run *run, const struct set_affinity *op)
{
	unsigned char every[1024]; /* as many CPUs as Linux can be built for, in bits */
	const void *mask = op->cpus.length > 0 ? text(run, op->cpus) : memset(every, 0xff, sizeof(every));
	size_t size = op->cpus.length > 0 ? op->cpus.length : sizeof(every);

	if (syscall(SYS_sched_setaffinity, 0, size, mask) < 0)
		return fail(run, errno, "sched_setaffinity", NULL);
	return 0;
}

int op_set_io_priority(struct run *run, const struct set_io_priority *op)
{
	return syscall(SYS_ioprio_set, 2 /* IOPRIO_WHO_PGRP */, 0, (int)op->value) < 0
		       ? fail(run, errno, "ioprio_set", NULL)
		       : 0;
}

int op_set_personality(struct run *run, const struct set_personality *op)
{
	return personality((unsigned long)op->domain) < 0 ? fail(run, errno, "personality", NULL) : 0;
}

int op_set_memory_policy(struct run *run, const struct set_memory_policy *op)
{
	const void *nodes = op->nodes.length > 0 ? text(run, op->nodes) : NULL;

	return syscall(SYS_set_mempolicy, (int)op->mode, nodes, (unsigned long)op->max_node) < 0
		       ? fail(run, errno, "set_mempolicy", NULL)
		       : 0;
}
