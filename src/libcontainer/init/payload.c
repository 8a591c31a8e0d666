/* The payload: found, checked, gated and executed.  config.md "args", "env"; runtime.md "start". */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kernel.h"
#include "path.h"
#include "payload.h"
#include "seccomp.h"

#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#define CLOSE_RANGE_CLOEXEC_ 4
#define MAX_PASSWD_SIZE (1 << 20)

static int close_range_raw(unsigned first, unsigned last, unsigned flags)
{
	return first > last ? 0 : (int)syscall(SYS_close_range, first, last, flags);
}

/* Before Linux 5.9: one descriptor after the other, up to the most that there can be. */
static void close_each(int first, int keep, bool only_mark)
{
	long limit = sysconf(_SC_OPEN_MAX);

	for (int fd = first; fd < (limit > 0 ? limit : 1 << 20); fd++) {
		if (fd == keep)
			continue;
		if (only_mark)
			(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
		else
			(void)close(fd);
	}
}

/* Really close, so that no path through /proc/self/fd leads to a descriptor of ours while execve looks the program up (CVE-2024-21626). */
void close_from(int first, int keep)
{
	int error;

	if (keep < first) {
		error = close_range_raw((unsigned)first, UINT_MAX, 0);
	} else {
		error = close_range_raw((unsigned)first, (unsigned)keep - 1, 0);
		error |= close_range_raw((unsigned)keep + 1, UINT_MAX, 0);
	}
	if (error < 0)
		close_each(first, keep, false);
}

/* A caller without standard streams must not make descriptors of ours, opened later, the payload's. */
static void fill_stdio(void)
{
	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
			(void)open("/dev/null", O_RDWR | O_NOCTTY); /* the lowest free number is this one */
}

/* posix_spawn(3) of glibc leaves the two signals that it keeps for itself ignored, and no C library lets them be set. */
static void reset_reserved_signals(void)
{
	static const int reserved[] = { 32, 33 };
	const unsigned long action[8] = { 0 }; /* struct sigaction of the kernel: SIG_DFL, no flags, no mask */

	for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++)
		(void)syscall(SYS_rt_sigaction, reserved[i], action, NULL, 8);
}

/* What the runtime itself inherited is not the container's: closed before anything else, but for the preserved descriptors below
 * the channel.  A created container must not keep its caller's pipes open. */
void close_inherited(int channel)
{
	close_from(channel + 1, -1);
	fill_stdio();
	reset_reserved_signals();
}

/* What set the container up is closed before a path of the configuration is looked up: through /proc/self/fd even the host's procfs
 * would lead out of the container (CVE-2024-21626).  Of the plan's descriptors the sockets stay: `start` comes through one. */
static void close_handles(struct run *run)
{
	int *const handles[] = { &run->proc_fd, &run->mask_fd };
	struct stat status;

	for (size_t i = 0; i < sizeof(handles) / sizeof(handles[0]); i++)
		close_descriptor(handles[i]);
	run->proc_fd = run->mask_fd = -1;
	for (size_t i = 0; i < MAX_SLOTS; i++) {
		close_descriptor(&run->slots[i]);
		run->slots[i] = -1;
	}
	for (uint32_t i = 0; i < run->plan.descriptors; i++)
		if (run->fds[i] > 2 && fstat(run->fds[i], &status) == 0 && !S_ISSOCK(status.st_mode)) {
			close(run->fds[i]);
			run->fds[i] = -1;
		}
}

int op_close_on_exec(struct run *run, const struct close_on_exec *op)
{
	close_handles(run);
	if (close_range_raw((unsigned)op->first, UINT_MAX, CLOSE_RANGE_CLOEXEC_) < 0)
		close_each((int)op->first, -1, true);
	return 0;
}

/* The strings as execve(2) wants them, with room for `spare` more.  The only memory init asks for, bounded by the plan's size. */
char **string_vector(const struct run *run, struct texts values, size_t spare)
{
	size_t size = (values.count + spare + 1) * sizeof(char *);
	char **vector = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (vector == MAP_FAILED)
		_exit(1);
	for (uint32_t i = 0; i < values.count; i++)
		vector[i] = (char *)(uintptr_t)texts_item(run, values, i);
	return vector;
}

/* 0 when `path` is a file that we may execute.  Called after the change of user, so that it is that user's right that counts. */
static int check_executable(const char *path)
{
	struct stat status;

	if (stat(path, &status) < 0)
		return -errno;
	if (S_ISDIR(status.st_mode))
		return -EISDIR;
	if (!S_ISREG(status.st_mode) || access(path, X_OK) < 0)
		return -EACCES;
	return 0;
}

/* A directory of PATH, followed by a slash and the name; an empty one means the working directory, as to execvp(3). */
static int find_on_path(const struct run *run, const struct find_executable *op, char *buffer, size_t size)
{
	const char *name = text(run, op->name);
	int error, result = -ENOENT;

	for (uint32_t i = 0; i < op->path.count; i++) {
		const char *directory = texts_item(run, op->path, i);
		if (snprintf(buffer, size, "%s/%s", *directory ? directory : ".", name) >= (int)size)
			continue;
		error = check_executable(buffer);
		if (error == 0)
			return 0;
		if (error == -EACCES)
			result = -EACCES; /* it is there, but not for us: say so if nothing better follows */
	}
	return result;
}

int op_find_executable(struct run *run, const struct find_executable *op)
{
	static char found[PATH_MAX];
	const char *name = text(run, op->name);
	int error;

	if (strchr(name, '/') != NULL) {
		error = check_executable(name);
		run->executable = name;
	} else {
		error = *name ? find_on_path(run, op, found, sizeof(found)) : -ENOENT;
		run->executable = found;
	}
	return error < 0 ? fail(run, -error, "exec", name) : 0;
}

static void end_by_signal(int signal)
{
	(void)syscall(SYS_exit_group, 128 + signal);
	__builtin_trap(); /* between the load of a filter that forbids to exit and execve */
}

/* What does not end a process by default, signal(7), and the faults. */
static bool is_harmless(int signal)
{
	static const int harmless[] = { SIGCHLD, SIGCONT, SIGURG, SIGWINCH, SIGTSTP, SIGTTIN,
					SIGTTOU, SIGSEGV, SIGBUS, SIGILL,   SIGFPE,  SIGPIPE };

	for (size_t i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++)
		if (signal == harmless[i])
			return true;
	return false;
}

/* The kernel drops signals without a handler that are sent to the first process of a pid namespace, and a created container that
 * ignores SIGTERM, or SIGRTMIN+3 where that is its stop signal, would surprise everyone: pid_namespaces(7).  execve resets the
 * handlers. */
void make_signals_end_us(void)
{
	struct sigaction action = { .sa_handler = end_by_signal };

	for (int signal = 1; signal < _NSIG; signal++)
		if (!is_harmless(signal))
			(void)sigaction(signal, &action, NULL); /* SIGKILL and SIGSTOP: EINVAL */
}

/* Whoever connects and leaves without a word only asked whether we still wait: that is how `state` tells created from running. */
int op_await_start(struct run *run, const struct await_start *op)
{
	int listener = run->fds[op->listener], connection;

	close_handles(run);
	close(run->channel);
	run->channel = -1;
	for (;;) {
		connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (connection < 0 && errno != EINTR && errno != ECONNABORTED)
			_exit(1);
		if (connection >= 0 && await_reply(connection, REPLY_START) == 0)
			break;
		if (connection >= 0)
			close(connection);
	}
	close(listener);
	run->channel = connection;
	return 0;
}

static char *home_field(char *line, uint32_t uid)
{
	char *field = line, *end;

	for (int i = 0; i < 2; i++) {
		field = strchr(field, ':');
		if (field == NULL)
			return NULL;
		field++;
	}
	if (*field < '0' || *field > '9' || strtoul(field, &end, 10) != uid || *end != ':')
		return NULL;
	for (int i = 0; i < 3; i++) {
		field = strchr(field, ':');
		if (field == NULL)
			return NULL;
		field++;
	}
	field[strcspn(field, ":\n")] = 0;
	return field;
}

/* Take the home directory of `uid` from one line; true when it is there. */
static bool take_home(char *line, uint32_t uid, char *ret_home, size_t size)
{
	const char *home = home_field(line, uid);

	if (home == NULL || *home != '/')
		return false;
	snprintf(ret_home, size, "HOME=%s", home);
	return true;
}

/* HOME from the container's /etc/passwd, which is the image's: a regular file of a sane size or nothing (CVE-2024-9676). */
static void find_home(const struct run *run, uint32_t uid, char *ret_home, size_t size)
{
	_cleanup_close_ int handle = open_in_root(run->rootfs_fd, "/etc/passwd", O_RDONLY | O_NONBLOCK | O_NOCTTY);
	char buffer[4096];
	struct stat status;
	size_t used = 0;
	ssize_t got;
	off_t total = 0;

	snprintf(ret_home, size, "HOME=/");
	if (handle < 0 || fstat(handle, &status) < 0 || !S_ISREG(status.st_mode))
		return;
	while (total < MAX_PASSWD_SIZE && (got = read(handle, buffer + used, sizeof(buffer) - 1 - used)) > 0) {
		char *line = buffer, *end;
		total += got;
		used += (size_t)got;
		buffer[used] = 0;
		while ((end = strchr(line, '\n')) != NULL) {
			*end = 0;
			if (take_home(line, uid, ret_home, size))
				return;
			line = end + 1;
		}
		used -= (size_t)(line - buffer);
		memmove(buffer, line, used);
		if (used == sizeof(buffer) - 1)
			return; /* no line of a passwd file is that long */
	}
	buffer[used] = 0;
	(void)take_home(buffer, uid, ret_home, size); /* a last line without an end */
}

/* Say which machine a program is for when the kernel says no more than "exec format error". */
static void describe_format(const char *path, char *buffer, size_t size)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	unsigned char head[20];

	if (fd < 0 || read(fd, head, sizeof(head)) != sizeof(head) || memcmp(head, "\177ELF", 4) != 0)
		snprintf(buffer, size, "%s: neither an ELF program nor a script with an interpreter line", path);
	else
		snprintf(buffer, size, "%s: an ELF program for machine %u", path,
			 head[5] == 2 ? head[18] << 8 | head[19] : head[19] << 8 | head[18]);
}

/* Tell whoever started us, who may have gone: that does not stop the payload. */
static int report_start(struct run *run)
{
	struct report started = { .type = REPORT_STARTED, .step = run->step };
	_cleanup_close_ int last_words = -1;

	if (has_filter(run)) {
		last_words = open_last_words(run);
		if (last_words < 0)
			return -1;
	}
	(void)send_report(run->channel, &started, last_words);
	return 0;
}

int op_exec(struct run *run, const struct exec *op)
{
	static char home[PATH_MAX], format[sizeof(run->failure.detail)];
	char **arguments = string_vector(run, op->args, 0), **environment = string_vector(run, op->env, 1);
	int error;

	if (op->home) {
		find_home(run, (uint32_t)op->uid, home, sizeof(home));
		environment[op->env.count] = home;
	}
	if (report_start(run) < 0)
		return -1;
	close_from((int)op->close_from, run->channel);
	run->proc_fd = run->rootfs_fd = run->mask_fd = -1;
	if (has_filter(run)) {
		describe_format(run->executable, format, sizeof(format)); /* later it could not be read */
		if (load_filter(run) < 0)
			return -1;
	}
	execve(run->executable, arguments, environment);
	error = errno;
	if (error == ENOEXEC && !has_filter(run))
		describe_format(run->executable, format, sizeof(format));
	fail(run, error, "execve", error == ENOEXEC ? format : run->executable);
	if (has_filter(run))
		end_under_filter(run);
	return -1;
}
