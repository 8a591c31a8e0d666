/* The terminal and standard streams: pts(4), ioctl_tty(2), config.md "terminal", "consoleSize".
 *
 * The pseudo-terminal comes from the container's own devpts, verified to be one: a symbolic link or a fake multiplexor in /dev/pts would
 * put a file of the image's choice on /dev/console (CVE-2025-52565, CVE-2026-88264).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <unistd.h>

#include "kernel.h"
#include "mounts.h"
#include "operations.h"
#include "path.h"
#include "procfs.h"

#ifndef TIOCGPTPEER
#define TIOCGPTPEER 0x5441
#endif
#define DEVPTS_SUPER_MAGIC_ 0x1cd1
#define PIPEFS_MAGIC_ 0x50495045
#define DEVPTS_PTMX_INODE 2

static int open_multiplexor(struct run *run)
{
	static const char path[] = "/dev/pts/ptmx";
	_cleanup_close_ int handle = open_in_root(run->rootfs_fd, path, O_PATH | O_NOFOLLOW);
	struct stat status;
	int fd;

	if (handle < 0)
		return fail(run, -handle, "open", path);
	if (fstat(handle, &status) < 0)
		return fail(run, errno, "stat", path);
	if (verify_filesystem(handle, DEVPTS_SUPER_MAGIC_) < 0 || verify_device(handle, 5, 2) < 0 ||
	    status.st_ino != DEVPTS_PTMX_INODE)
		return fail(run, ENODEV, "stat", "/dev/pts/ptmx is not the multiplexor of a devpts");
	fd = reopen(run, handle, O_RDWR | O_NOCTTY);
	return fd < 0 ? fail(run, -fd, "open", path) : fd;
}

static int open_peer(struct run *run, int master)
{
	int unlock = 0, peer;

	if (ioctl(master, TIOCSPTLCK, &unlock) < 0)
		return fail(run, errno, "ioctl", "TIOCSPTLCK");
	peer = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	return peer < 0 ? fail(run, errno, "ioctl", "TIOCGPTPEER") : peer;
}

/* /dev/console is made without following a link, then the terminal is bound on it. */
static int bind_console(struct run *run, int peer)
{
	static const char path[] = "/dev/console";
	const char *name;
	_cleanup_close_ int parent = open_parent_in_root(run->rootfs_fd, path, true, &name);
	_cleanup_close_ int target = -1;

	if (parent < 0)
		return fail(run, -parent, "open", path);
	if (mknodat(parent, name, S_IFREG | 0666, 0) < 0 && errno != EEXIST)
		return fail(run, errno, "mknod", path);
	target = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (target < 0)
		return fail(run, errno, "open", path);
	return bind_over(run, peer, target, path);
}

static int use_as_stdio(struct run *run, int peer)
{
	for (int fd = 0; fd < 3; fd++)
		if (dup2(peer, fd) < 0)
			return fail(run, errno, "dup2", NULL);
	if (ioctl(STDIN_FILENO, TIOCSCTTY, 0) < 0)
		return fail(run, errno, "ioctl", "TIOCSCTTY");
	return 0;
}

int op_open_console(struct run *run, const struct open_console *op)
{
	const struct winsize size = { .ws_row = (unsigned short)op->rows, .ws_col = (unsigned short)op->columns };
	_cleanup_close_ int master = open_multiplexor(run);
	_cleanup_close_ int peer = -1;
	int error;

	if (master < 0 || (peer = open_peer(run, master)) < 0)
		return -1;
	if (op->rows && ioctl(master, TIOCSWINSZ, &size) < 0)
		return fail(run, errno, "ioctl", "TIOCSWINSZ");
	if (fchown(peer, (uid_t)op->uid, (gid_t)-1) < 0)
		return fail(run, errno, "fchown", "the terminal");
	if (op->bind && bind_console(run, peer) < 0)
		return -1;
	error = send_descriptor(run, DESCRIPTOR_CONSOLE, master);
	if (error < 0)
		return fail(run, -error, "sendmsg", NULL);
	return use_as_stdio(run, peer);
}

static bool is_null_device(const struct stat *status)
{
	return S_ISCHR(status->st_mode) && status->st_rdev == makedev(1, 3);
}

int op_reopen_null(struct run *run, const struct reopen_null *op)
{
	_cleanup_close_ int handle = open_in_root(run->rootfs_fd, "/dev/null", O_PATH | O_NOFOLLOW);
	_cleanup_close_ int null = -1;
	struct stat status;

	(void)op;
	if (handle == -ENOENT)
		return 0; /* a container without /dev keeps what the caller gave it */
	if (handle < 0 || verify_device(handle, 1, 3) < 0)
		return fail(run, handle < 0 ? -handle : ENODEV, "open", "/dev/null is not the null device");
	for (int fd = 0; fd < 3; fd++) {
		if (fstat(fd, &status) < 0 || !is_null_device(&status))
			continue;
		if (null < 0 && (null = reopen(run, handle, O_RDWR)) < 0)
			return fail(run, -null, "open", "/dev/null");
		if (dup2(null, fd) < 0)
			return fail(run, errno, "dup2", NULL);
	}
	return 0;
}

/* A terminal or a pipe without a name.  Files, sockets, fifos and devices such as /dev/zero are the host's. */
static bool is_for_the_payload(int fd, const struct stat *status)
{
	if (S_ISCHR(status->st_mode))
		return isatty(fd);
	return S_ISFIFO(status->st_mode) && verify_filesystem(fd, PIPEFS_MAGIC_) == 0;
}

/* A user that is not root must be able to reopen /dev/stdout.  The group stays: a terminal's is `tty`, pts(4).
 * CVE-2026-88265; chown of the host's /dev/null. */
int op_chown_stdio(struct run *run, const struct chown_stdio *op)
{
	struct stat status;

	for (int fd = 0; fd < 3; fd++) {
		if (fstat(fd, &status) < 0 || status.st_uid == (uid_t)op->uid || !is_for_the_payload(fd, &status))
			continue;
		if (fchown(fd, (uid_t)op->uid, (gid_t)-1) < 0 && errno != EPERM && errno != EINVAL && errno != EROFS)
			return fail(run, errno, "fchown", "stdio");
	}
	return 0;
}
