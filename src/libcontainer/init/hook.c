/* Hooks in the container's namespaces: config.md "createContainer Hooks", "startContainer Hooks". */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kernel.h"
#include "operations.h"
#include "path.h"
#include "payload.h"

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
	close_from(3, -1);
	execve(text(run, op->path), string_vector(run, op->args, 0), string_vector(run, op->env, 0));
	dprintf(2, "%s: %s", text(run, op->path), strerror(errno));
	_exit(127);
}

/* A hook need not read its input: a broken pipe is no error. */
static void send_state(const struct run *run, const struct run_hook *op, int fd)
{
	char number[24];
	int length = snprintf(number, sizeof(number), "%d", getpid());

	(void)!send(fd, text(run, op->head), op->head.length, MSG_NOSIGNAL);
	(void)!send(fd, number, (size_t)length, MSG_NOSIGNAL);
	(void)!send(fd, text(run, op->tail), op->tail.length, MSG_NOSIGNAL);
}

/* Read what the hook writes until it closes the pipe or the time is up; 0, or -ETIMEDOUT. */
static int drain(int fd, int64_t deadline, struct tail *tail)
{
	struct pollfd wait = { .fd = fd, .events = POLLIN };
	char data[512];
	ssize_t size;

	for (;;) {
		int64_t left = deadline ? deadline - now_ms() : -1;
		if (deadline && left <= 0)
			return -ETIMEDOUT;
		if (poll(&wait, 1, (int)left) <= 0)
			continue;
		size = read(fd, data, sizeof(data));
		if (size <= 0)
			return 0;
		keep_tail(tail, data, (size_t)size);
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

int op_run_hook(struct run *run, const struct run_hook *op)
{
	_cleanup_close_ int state_ours = -1, output_ours = -1;
	int64_t deadline = op->timeout_ms ? now_ms() + op->timeout_ms : 0;
	struct tail tail = { .used = 0 };
	int state[2], output[2], status;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, state) < 0 || pipe2(output, O_CLOEXEC) < 0)
		return fail(run, errno, "pipe2", NULL);
	state_ours = state[1];
	output_ours = output[0];
	pid = fork();
	if (pid == 0)
		become_hook(run, op, state[0], output[1]);
	close(state[0]);
	close(output[1]);
	if (pid < 0)
		return fail(run, errno, "fork", NULL);
	send_state(run, op, state_ours);
	shutdown(state_ours, SHUT_WR);
	status = drain(output_ours, deadline, &tail);
	if (status == 0)
		status = reap(pid, deadline);
	if (status == -ETIMEDOUT) {
		kill(-pid, SIGKILL); /* the hook and what it started: it leads its own session */
		kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
	}
	return status == 0 ? 0 : fail_hook(run, op, status, &tail);
}
