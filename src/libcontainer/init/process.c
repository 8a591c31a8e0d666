/* Namespaces, the second stage, session and keyring: namespaces(7), clone(2), setsid(2), keyctl(2). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kernel.h"
#include "operations.h"
#include "path.h"
#include "payload.h"
#include "procfs.h"

#ifndef SYS_clone3
#define SYS_clone3 435
#endif
#define CLONE_INTO_CGROUP_ UINT64_C(0x200000000)

struct clone3_arguments {
	uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size,
		cgroup;
};

int op_join_namespace(struct run *run, const struct join_namespace *op)
{
	if (setns(run->fds[op->fd], (int)op->nstype) < 0)
		return fail(run, errno, "setns", NULL);
	return 0;
}

int op_join_namespaces(struct run *run, const struct join_namespaces *op)
{
	if (setns(run->fds[op->process], (int)op->flags) < 0)
		return fail(run, errno, "setns", NULL);
	return 0;
}

int op_unshare(struct run *run, const struct unshare *op)
{
	if (unshare((int)op->flags) < 0)
		return fail(run, errno, "unshare", NULL);
	return 0;
}

int op_sync(struct run *run, const struct sync *op)
{
	struct report report = { .type = REPORT_SYNC, .step = run->step, .value = op->point };

	if (op->point == SYNC_READY)
		make_signals_end_us(); /* from here on the container is there to be killed */
	if (send_report(run->channel, &report, -1) < 0)
		_exit(1); /* nobody is left to report to */
	if (await_reply(run->channel, REPLY_CONTINUE) < 0)
		_exit(1);
	return 0;
}

int op_become_root(struct run *run, const struct become_root *op)
{
	if (op->groups != GROUPS_KEEP && setgroups(0, NULL) < 0 &&
	    !(op->groups == GROUPS_IF_PERMITTED && errno == EPERM))
		return fail(run, errno, "setgroups", NULL);
	if (setresgid(0, 0, 0) < 0)
		return fail(run, errno, "setresgid", NULL);
	if (setresuid(0, 0, 0) < 0)
		return fail(run, errno, "setresuid", NULL);
	return 0;
}

int op_set_time_offsets(struct run *run, const struct set_time_offsets *op)
{
	return write_own(run, "timens_offsets", text(run, op->offsets));
}

int op_set_oom_score_adj(struct run *run, const struct set_oom_score_adj *op)
{
	return write_own(run, "oom_score_adj", text(run, op->value));
}

int op_set_dumpable(struct run *run, const struct set_dumpable *op)
{
	if (prctl(PR_SET_DUMPABLE, op->value, 0, 0, 0) < 0)
		return fail(run, errno, "prctl", "PR_SET_DUMPABLE");
	return 0;
}

/* clone(2) knows every flag that we pass but CLONE_INTO_CGROUP; kernels before 5.3 and some seccomp profiles have no clone3. */
static pid_t clone_classic(uint64_t flags)
{
#ifdef __s390x__
	return (pid_t)syscall(SYS_clone, NULL, flags | SIGCHLD, NULL, NULL, 0);
#else
	return (pid_t)syscall(SYS_clone, flags | SIGCHLD, NULL, NULL, NULL, 0);
#endif
}

static pid_t clone_stage_two(const struct run *run, const struct clone *op)
{
	struct clone3_arguments arguments = { .flags = (uint64_t)op->flags };
	pid_t pid;

	if (op->parent)
		arguments.flags |= CLONE_PARENT; /* takes its exit signal from us: clone3(2) */
	else
		arguments.exit_signal = SIGCHLD;
	if (op->cgroup >= 0) {
		arguments.flags |= CLONE_INTO_CGROUP_;
		arguments.cgroup = (uint64_t)run->fds[op->cgroup];
	}
	pid = (pid_t)syscall(SYS_clone3, &arguments, sizeof(arguments));
	if (pid < 0 && (errno == ENOSYS || errno == EPERM) && op->cgroup < 0)
		pid = clone_classic(arguments.flags);
	return pid;
}

int op_clone(struct run *run, const struct clone *op)
{
	struct report report = { .type = REPORT_CHILD, .step = run->step };
	pid_t pid = clone_stage_two(run, op);

	if (pid < 0)
		return fail(run, errno, "clone", NULL);
	if (pid == 0 && op->cgroup >= 0) {
		close(run->fds[op->cgroup]); /* it leads out of the container (CVE-2024-21626) */
		run->fds[op->cgroup] = -1;
	}
	if (pid == 0)
		return 0; /* stage two goes on with the plan */
	report.value = pid;
	_exit(send_report(run->channel, &report, -1) < 0);
}

int op_join_cgroup(struct run *run, const struct join_cgroup *op)
{
	_cleanup_close_ int tasks = run->fds[op->tasks];

	run->fds[op->tasks] = -1;
	if (write(tasks, "0", 1) < 0)
		return fail(run, errno, "write", "tasks");
	return 0;
}

int op_new_session(struct run *run, const struct new_session *op)
{
	(void)op;
	if (setsid() < 0)
		return fail(run, errno, "setsid", NULL);
	return 0;
}

/* The user of the container may search the keyring, as runc allows: keyrings(7), "user search". */
static void allow_user_search(long keyring)
{
	const unsigned long user_search = 0x080000;
	char description[256] = "";
	char *field = description;

	if (syscall(SYS_keyctl, 6 /* KEYCTL_DESCRIBE */, keyring, description, sizeof(description) - 1, 0) < 0)
		return; /* not essential: the keyring is empty */
	for (int i = 0; i < 3 && field != NULL; i++) {
		field = strchr(field, ';');
		field = field ? field + 1 : NULL;
	}
	if (field != NULL)
		(void)syscall(SYS_keyctl, 5 /* KEYCTL_SETPERM */, keyring, strtoul(field, NULL, 16) | user_search, 0,
			      0);
}

int op_join_keyring(struct run *run, const struct join_keyring *op)
{
	long keyring = syscall(SYS_keyctl, 1 /* KEYCTL_JOIN_SESSION_KEYRING */, text(run, op->name), 0, 0, 0);

	if (keyring < 0 && errno == ENOSYS)
		return 0; /* a kernel without keys has none to protect */
	if (keyring < 0)
		return fail(run, errno, "keyctl", text(run, op->name));
	allow_user_search(keyring);
	return 0;
}

int op_bring_loopback_up(struct run *run, const struct bring_loopback_up *op)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = { .ifr_name = "lo" };

	(void)op;
	if (fd < 0)
		return fail(run, errno, "socket", "AF_INET");
	if (ioctl(fd, SIOCGIFFLAGS, &request) < 0)
		return fail(run, errno, "ioctl", "SIOCGIFFLAGS lo");
	request.ifr_flags |= IFF_UP;
	if (ioctl(fd, SIOCSIFFLAGS, &request) < 0)
		return fail(run, errno, "ioctl", "SIOCSIFFLAGS lo");
	return 0;
}

int op_open_netlink(struct run *run, const struct open_netlink *op)
{
	_cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0 /* NETLINK_ROUTE */);
	int error;

	(void)op;
	if (fd < 0)
		return fail(run, errno, "socket", "NETLINK_ROUTE");
	error = send_descriptor(run, DESCRIPTOR_NETLINK, fd);
	return error < 0 ? fail(run, -error, "sendmsg", NULL) : 0;
}
