/* Hooks in the container's namespaces: config.md "createContainer Hooks", "startContainer Hooks". */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kernel.h"
#include "operations.h"
#include "path.h"
#include "payload.h"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#define MFD_CLOEXEC_ 1U
#define MFD_NOEXEC_SEAL_ 8U

/* The last of what the hook wrote, for the error. */
struct tail {
	char data[512];
	size_t used;
};

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void keep_tail(struct tail *tail, const char *data, size_t size)
{
	const size_t room = sizeof(tail->data) - 1;

	if (size > room) {
		data += size - room;
		size = room;
	}
	if (tail->used + size > room) {
		size_t gone = tail->used + size - room;
		memmove(tail->data, tail->data + gone, tail->used - gone);
		tail->used -= gone;
	}
	memcpy(tail->data + tail->used, data, size);
	tail->used += size;
}

_Noreturn static void become_hook(const struct run *run, const struct run_hook *op, int input, int output)
{
	if (setsid() < 0 || dup2(input, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0)
		_exit(126);
	if (op->cwd.length > 0 && chdir(text(run, op->cwd)) < 0 && chdir("/") < 0)
		_exit(126);
	(void)umask(022);
	close_from(3, -1);
	execve(text(run, op->path), string_vector(run, op->args, 0), string_vector(run, op->env, 0));
	dprintf(2, "%s: %s", text(run, op->path), strerror(errno));
	_exit(127);
}

/* The state as a file in memory: a hook that does not read it can neither block nor break us, as it could with a pipe. */
static int state_file(const struct run *run, const struct run_hook *op)
{
	_cleanup_close_ int fd = (int)syscall(SYS_memfd_create, "state", MFD_CLOEXEC_ | MFD_NOEXEC_SEAL_);

	if (fd < 0 && errno == EINVAL) /* before Linux 6.3 */
		fd = (int)syscall(SYS_memfd_create, "state", MFD_CLOEXEC_);
	if (fd < 0)
		return -errno;
	errno = EIO;
	if (dprintf(fd, "%s%d%s", text(run, op->head), getpid(), text(run, op->tail)) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return -errno;
	return TAKE_FD(fd);
}

static bool take_output(int fd, struct tail *tail)
{
	char data[512];
	ssize_t size = read(fd, data, sizeof(data));

	if (size > 0)
		keep_tail(tail, data, (size_t)size);
	return size > 0;
}

/* Read what the hook writes until it ends or the time is up; 0, or -ETIMEDOUT.  Its end is told by the pidfd: what it leaves in the
 * background may hold the pipe open for ever.  Before Linux 5.3 there is none (-1), and the end of the pipe has to do. */
static int drain(int fd, int pidfd, int64_t deadline, struct tail *tail)
{
	struct pollfd wait[] = { { .fd = fd, .events = POLLIN }, { .fd = pidfd, .events = POLLIN } };

	for (;;) {
		int64_t left = deadline ? deadline - now_ms() : -1;
		if (deadline && left <= 0)
			return -ETIMEDOUT;
		if (poll(wait, 2, left > INT_MAX ? INT_MAX : (int)left) <= 0)
			continue;
		if (wait[1].revents != 0) {
			while (take_output(fd, tail))
				;
			return 0;
		}
		if (!take_output(fd, tail)) {
			if (pidfd < 0)
				return 0;
			wait[0].fd = -1; /* it has closed its output and goes on */
		}
	}
}

static int reap(pid_t pid, int64_t deadline)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	int status = 0;

	while (waitpid(pid, &status, deadline ? WNOHANG : 0) == 0) {
		if (now_ms() >= deadline)
			return -ETIMEDOUT;
		nanosleep(&pause, NULL);
	}
	return status;
}

static int fail_hook(struct run *run, const struct run_hook *op, int status, struct tail *tail)
{
	char how[64];

	tail->data[tail->used] = 0;
	if (status == -ETIMEDOUT)
		snprintf(how, sizeof(how), "ran past its timeout of %lld s", (long long)op->timeout_ms / 1000);
	else if (WIFSIGNALED(status))
		snprintf(how, sizeof(how), "was ended by signal %d", WTERMSIG(status));
	else
		snprintf(how, sizeof(how), "exited with status %d", WEXITSTATUS(status));
	snprintf(run->failure.detail, sizeof(run->failure.detail), "%s %s%s%s", text(run, op->path), how,
		 tail->used ? ": " : "", tail->data);
	return fail(run, status == -ETIMEDOUT ? ETIMEDOUT : 0, "hook", run->failure.detail);
}

static int await_hook(pid_t pid, int output, int64_t deadline, struct tail *tail)
{
	_cleanup_close_ int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	int status = drain(output, pidfd, deadline, tail);

	if (status == 0)
		status = reap(pid, deadline);
	if (status == -ETIMEDOUT) {
		kill(-pid, SIGKILL); /* the hook and what it started: it leads its own session */
		kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
	}
	return status;
}

int op_run_hook(struct run *run, const struct run_hook *op)
{
	int64_t deadline = op->timeout_ms ? now_ms() + op->timeout_ms : 0;
	struct tail tail = { .used = 0 };
	_cleanup_close_ int state = state_file(run, op);
	_cleanup_close_ int output_ours = -1, output_theirs = -1;
	int output[2], status;
	pid_t pid;

	if (state < 0)
		return fail(run, -state, "memfd_create", NULL);
	if (pipe2(output, O_CLOEXEC) < 0)
		return fail(run, errno, "pipe2", NULL);
	output_ours = output[0];
	output_theirs = output[1];
	/* Ours only: the two ends of a pipe are two open files. */
	if (fcntl(output_ours, F_SETFL, O_NONBLOCK) < 0)
		return fail(run, errno, "fcntl", NULL);
	pid = fork();
	if (pid < 0)
		return fail(run, errno, "fork", NULL);
	if (pid == 0)
		become_hook(run, op, state, output_theirs);
	close(TAKE_FD(output_theirs));
	status = await_hook(pid, output_ours, deadline, &tail);
	return status == 0 ? 0 : fail_hook(run, op, status, &tail);
}
