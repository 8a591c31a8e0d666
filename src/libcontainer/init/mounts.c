/* Mounts: made detached, given their attributes, then attached below the rootfs, so that a mount is never visible with other
 * attributes than the configured ones and no path of the image is named twice (CVE-2021-30465).
 *
 * Mount, Remount and ChangePropagation are the classic calls for kernels without the newer ones: mount(2) through the trusted procfs.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "copyup.h"
#include "kernel.h"
#include "mountapi.h"
#include "mounts.h"
#include "operations.h"
#include "path.h"
#include "procfs.h"

static void fill_slot(struct run *run, int64_t slot, int fd)
{
	if (run->slots[slot] >= 0)
		close(run->slots[slot]);
	run->slots[slot] = fd;
}

int op_set_propagation(struct run *run, const struct set_propagation *op)
{
	if (mount(NULL, text(run, op->path), NULL, (unsigned long)op->flags, NULL) < 0)
		return fail(run, errno, "mount", text(run, op->path));
	return 0;
}

int op_open_tree(struct run *run, const struct open_tree *op)
{
	const char *source = text(run, op->source);
	int fd = sys_open_tree(AT_FDCWD, source, (unsigned)op->flags | O_CLOEXEC);

	if (fd < 0)
		return fail(run, errno, "open_tree", source);
	fill_slot(run, op->slot, fd);
	return 0;
}

/* The kernel's own words, where the file system has any: "e tmpfs: Bad value for 'size'" (fsopen(2)). */
static int fail_filesystem(struct run *run, int error, const char *call, int fs_fd, const char *subject)
{
	char *detail = run->failure.detail;
	size_t length = (size_t)snprintf(detail, sizeof(run->failure.detail), "%s", subject);
	ssize_t got;

	while (length + 3 < sizeof(run->failure.detail)) {
		detail[length] = ';';
		detail[length + 1] = ' ';
		got = read(fs_fd, detail + length + 2, sizeof(run->failure.detail) - length - 3);
		detail[length + 2 + (size_t)(got > 0 ? got : 0)] = 0;
		if (got <= 0)
			break;
		length += 2 + (size_t)got;
		if (detail[length - 1] == '\n')
			length--;
	}
	detail[length] = 0;
	return fail(run, error, call, detail);
}

static int configure(struct run *run, int fs_fd, const char *parameter)
{
	char key[256];
	const char *value = strchr(parameter, '=');
	size_t length = value ? (size_t)(value - parameter) : 0;

	if (value == NULL)
		return sys_fsconfig(fs_fd, FSCONFIG_FLAG, parameter, NULL);
	if (length >= sizeof(key)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(key, parameter, length);
	key[length] = 0;
	(void)run;
	return sys_fsconfig(fs_fd, FSCONFIG_STRING, key, value + 1);
}

int op_new_mount(struct run *run, const struct new_mount *op)
{
	const char *fstype = text(run, op->fstype);
	_cleanup_close_ int fs_fd = sys_fsopen(fstype);
	int mount_fd;

	if (fs_fd < 0)
		return fail(run, errno, "fsopen", fstype);
	if (op->source.length > 0 && sys_fsconfig(fs_fd, FSCONFIG_STRING, "source", text(run, op->source)) < 0)
		return fail_filesystem(run, errno, "fsconfig", fs_fd, text(run, op->source));
	for (uint32_t i = 0; i < op->parameters.count; i++)
		if (configure(run, fs_fd, texts_item(run, op->parameters, i)) < 0)
			return fail_filesystem(run, errno, "fsconfig", fs_fd, texts_item(run, op->parameters, i));
	if (sys_fsconfig(fs_fd, FSCONFIG_CREATE, NULL, NULL) < 0)
		return fail_filesystem(run, errno, "fsconfig", fs_fd, fstype);
	mount_fd = sys_fsmount(fs_fd, (uint64_t)op->attributes);
	if (mount_fd < 0)
		return fail_filesystem(run, errno, "fsmount", fs_fd, fstype);
	fill_slot(run, op->slot, mount_fd);
	return 0;
}

int op_set_mount_attributes(struct run *run, const struct set_mount_attributes *op)
{
	struct mount_attributes attributes = {
		.set = (uint64_t)op->set,
		.clear = (uint64_t)op->clear,
		.propagation = (uint64_t)op->propagation,
	};

	if (op->userns >= 0)
		attributes.userns_fd = (uint64_t)run->fds[op->userns];
	if (sys_mount_setattr(run->slots[op->slot], AT_EMPTY_PATH | (op->recursive ? AT_RECURSIVE : 0), &attributes) <
	    0)
		return fail(run, errno, "mount_setattr", NULL);
	return 0;
}

/* The place for a mount, made where it is missing.  A negative errno on failure; -EPERM when a link of the image led to a procfs. */
static int open_target(struct run *run, const char *target, int64_t kind, bool directory)
{
	_cleanup_close_ int fd = -1;

	if (kind == REAL_DIRECTORY)
		return open_directory_without_symlinks(run->rootfs_fd, target, true);
	if (kind == DIRECTORY || directory)
		fd = make_directory_in_root(run->rootfs_fd, target, 0755);
	else
		fd = make_file_in_root(run->rootfs_fd, target, 0644);
	if (fd >= 0 && kind != ON_PROCFS && verify_filesystem(fd, PROC_SUPER_MAGIC) == 0)
		return -EPERM;
	return fd < 0 ? fd : TAKE_FD(fd);
}

int op_attach_mount(struct run *run, const struct attach_mount *op)
{
	const char *path = text(run, op->target);
	struct stat source;
	_cleanup_close_ int target = -1;

	if (fstat(run->slots[op->slot], &source) < 0)
		return fail(run, errno, "fstat", path);
	target = open_target(run, path, op->kind, S_ISDIR(source.st_mode));
	if (target < 0)
		return fail(run, -target, "open", path);
	if (sys_move_mount(run->slots[op->slot], target) < 0)
		return fail(run, errno, "move_mount", path);
	return 0;
}

int op_inherit_mode(struct run *run, const struct inherit_mode *op)
{
	_cleanup_close_ int target = open_in_root(run->rootfs_fd, text(run, op->target), O_PATH);
	struct stat status;
	int root = run->slots[op->slot];

	if (target < 0 || fstat(target, &status) < 0)
		return 0; /* nothing is hidden, so there is nothing to resemble */
	if (fchownat(root, "", status.st_uid, status.st_gid, AT_EMPTY_PATH) < 0)
		return fail(run, errno, "chown", text(run, op->target));
	if (fchmodat(root, ".", status.st_mode & 07777, 0) < 0)
		return fail(run, errno, "chmod", text(run, op->target));
	return 0;
}

int op_copy_up(struct run *run, const struct copy_up *op)
{
	const char *target = text(run, op->target);
	_cleanup_close_ int held = open_in_root(run->rootfs_fd, target, O_PATH | O_DIRECTORY);
	int error;

	if (held == -ENOENT)
		return 0;
	if (held < 0)
		return fail(run, -held, "open", target);
	error = copy_up(held, run->slots[op->slot]);
	return error < 0 ? fail(run, -error, "copy", target) : 0;
}

/* mount(2) with descriptors in place of paths: relative names below the trusted procfs, whatever /proc is now. */
int mount_through_procfs(struct run *run, const char *source, int target, const char *fstype, unsigned long flags,
			 const char *data)
{
	char name[32], path[128];
	_cleanup_close_ int previous = open(".", O_PATH | O_CLOEXEC);
	int error = 0;

	snprintf(name, sizeof(name), "fd/%d", target);
	if (own_path(run, name, path, sizeof(path)) < 0 || fchdir(run->proc_fd) < 0)
		return -ENOENT;
	if (mount(source, path, fstype, flags, data) < 0)
		error = -errno;
	if (previous >= 0 && fchdir(previous) < 0 && error == 0)
		error = -errno;
	return error;
}

int bind_through_procfs(struct run *run, int source, int target, unsigned long flags)
{
	char name[32], path[128];
	int error;

	snprintf(name, sizeof(name), "fd/%d", source);
	error = own_path(run, name, path, sizeof(path));
	return error < 0 ? error : mount_through_procfs(run, path, target, NULL, flags, NULL);
}

static bool source_is_directory(const char *source, int64_t flags)
{
	struct stat status;

	return !(flags & MS_BIND) || (stat(source, &status) == 0 && S_ISDIR(status.st_mode));
}

int op_mount(struct run *run, const struct mount *op)
{
	const char *path = text(run, op->target), *source = text(run, op->source);
	_cleanup_close_ int target = open_target(run, path, op->kind, source_is_directory(source, op->flags));
	int error, mounted;

	if (target < 0)
		return fail(run, -target, "open", path);
	error = mount_through_procfs(run, source, target, text(run, op->fstype), (unsigned long)op->flags,
				     text(run, op->data));
	if (error < 0)
		return fail(run, -error, "mount", path);
	mounted = open_in_root(run->rootfs_fd, path, O_PATH);
	if (mounted < 0)
		return fail(run, -mounted, "open", path);
	fill_slot(run, op->slot, mounted);
	return 0;
}

static unsigned long current_flags(int fd)
{
	static const struct {
		unsigned long shown, flag;
	} names[] = {
		{ ST_RDONLY, MS_RDONLY }, { ST_NOSUID, MS_NOSUID }, { 4 /* ST_NODEV */, MS_NODEV }, { 8, MS_NOEXEC },
		{ 1024, MS_NOATIME },     { 2048, MS_NODIRATIME },  { 4096, MS_RELATIME },
	};
	struct statvfs status;
	unsigned long flags = 0;

	if (fstatvfs(fd, &status) < 0)
		return 0;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (status.f_flag & names[i].shown)
			flags |= names[i].flag;
	return flags;
}

int remount_through_procfs(struct run *run, int fd, unsigned long set, unsigned long clear)
{
	unsigned long flags = (current_flags(fd) & ~clear) | set;

	return mount_through_procfs(run, NULL, fd, NULL, flags | MS_REMOUNT | MS_BIND, NULL);
}

int op_remount(struct run *run, const struct remount *op)
{
	int error = remount_through_procfs(run, run->slots[op->slot], (unsigned long)op->set, (unsigned long)op->clear);

	return error < 0 ? fail(run, -error, "mount", "remount") : 0;
}

int op_change_propagation(struct run *run, const struct change_propagation *op)
{
	int error = mount_through_procfs(run, NULL, run->slots[op->slot], NULL, (unsigned long)op->flags, NULL);

	return error < 0 ? fail(run, -error, "mount", "propagation") : 0;
}
