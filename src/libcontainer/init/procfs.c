/* procfs, from the host's side.
 *
 * The container decides what its own /proc is, so a label or a sysctl written through a path of the container may land elsewhere
 * (CVE-2019-16884, CVE-2025-52881).  All writes go through run->proc_fd, without symbolic links or mount crossings.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernel.h"
#include "path.h"
#include "procfs.h"

int write_procfs(struct run *run, const char *path, const char *value)
{
	_cleanup_close_ int fd = -1;
	size_t length = strlen(value);
	ssize_t written;

	if (run->proc_fd < 0)
		return fail(run, ENOENT, "open", "/proc");
	fd = open_beneath_real(run->proc_fd, path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return fail(run, -fd, "open", path);
	written = write(fd, value, length);
	if (written < 0)
		return fail(run, errno, "write", path);
	return (size_t)written == length ? 0 : fail(run, EIO, "write", path);
}

/* "<pid>/<file>" with our number in that procfs: `self` is a link, and its own pid namespace knows another number. */
int own_path(const struct run *run, const char *file, char *ret_path, size_t size)
{
	char number[32];
	ssize_t length = readlinkat(run->proc_fd, "self", number, sizeof(number) - 1);

	if (length <= 0)
		return -ENOENT;
	number[length] = 0;
	return snprintf(ret_path, size, "%s/%s", number, file) < (int)size ? 0 : -ENAMETOOLONG;
}

int write_own(struct run *run, const char *file, const char *value)
{
	char path[128];
	int error = own_path(run, file, path, sizeof(path));

	return error < 0 ? fail(run, -error, "readlink", "/proc/self") : write_procfs(run, path, value);
}

/* Open an O_PATH descriptor for real, through /proc/self/fd of the trusted procfs. */
int reopen(const struct run *run, int fd, int flags)
{
	char name[32], path[128];
	int error, opened;

	snprintf(name, sizeof(name), "fd/%d", fd);
	error = own_path(run, name, path, sizeof(path));
	if (error < 0)
		return error;
	opened = openat(run->proc_fd, path, flags | O_CLOEXEC);
	return opened < 0 ? -errno : opened;
}

/* chmod of what an O_PATH descriptor holds: by name, a symbolic link put in its place would be followed. */
int change_mode(const struct run *run, int fd, mode_t mode)
{
	char name[32], path[128];
	int error;

	snprintf(name, sizeof(name), "fd/%d", fd);
	error = own_path(run, name, path, sizeof(path));
	if (error < 0)
		return error;
	return fchmodat(run->proc_fd, path, mode, 0) < 0 ? -errno : 0;
}
