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

#define PROC_ROOT_INODE 1
#define OVERFLOW_ID 65534

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

static int configure(int fs_fd, const char *parameter)
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
		if (configure(fs_fd, texts_item(run, op->parameters, i)) < 0)
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

	if (kind == REAL_DIRECTORY || kind == PROCFS)
		return open_directory_without_symlinks(run->rootfs_fd, target, true);
	if (kind == DIRECTORY || directory)
		fd = make_directory_in_root(run->rootfs_fd, target, 0755);
	else
		fd = make_file_in_root(run->rootfs_fd, target, 0644);
	if (fd >= 0 && kind != ON_PROCFS && verify_filesystem(fd, PROC_SUPER_MAGIC) == 0)
		return -EPERM;
	return fd < 0 ? fd : TAKE_FD(fd);
}

/* Only the root of a procfs may be bound on /proc: a directory of the image could answer for the kernel (CVE-2019-16884). */
static int check_source(int fd, int64_t kind)
{
	struct stat status;

	if (kind != PROCFS)
		return 0;
	if (verify_filesystem(fd, PROC_SUPER_MAGIC) < 0 || fstat(fd, &status) < 0 || status.st_ino != PROC_ROOT_INODE)
		return -EXDEV;
	return 0;
}

int op_attach_mount(struct run *run, const struct attach_mount *op)
{
	const char *path = text(run, op->target);
	bool as_source = op->kind == LIKE_SOURCE || op->kind == ON_PROCFS;
	struct stat source = { 0 };
	_cleanup_close_ int target = -1;

	if (as_source && fstat(run->slots[op->slot], &source) < 0)
		return fail(run, errno, "fstat", path);
	if (check_source(run->slots[op->slot], op->kind) < 0)
		return fail(run, EXDEV, "stat", "the source is not the root of a procfs");
	target = open_target(run, path, op->kind, S_ISDIR(source.st_mode));
	if (target < 0)
		return fail(run, -target, "open", path);
	if (sys_move_mount(run->slots[op->slot], target) < 0)
		return fail(run, errno, "move_mount", path);
	return 0;
}

int op_open_target(struct run *run, const struct open_target *op)
{
	const char *path = text(run, op->path);
	int fd = open_in_root(run->rootfs_fd, path, O_PATH);

	if (fd < 0 && !(fd == -ENOENT && op->optional))
		return fail(run, -fd, "open", path);
	fill_slot(run, op->slot, fd < 0 ? -1 : fd);
	return 0;
}

/* An id that the user namespace does not map shows as this one (/proc/sys/kernel/overflowuid), and cannot be given. */
static bool is_overflow(const struct stat *status)
{
	return status->st_uid == OVERFLOW_ID || status->st_gid == OVERFLOW_ID;
}

int op_inherit_mode(struct run *run, const struct inherit_mode *op)
{
	int root = run->slots[op->slot], hidden = run->slots[op->hidden];
	struct stat status;

	if (hidden < 0)
		return 0;
	if (fstat(hidden, &status) < 0)
		return fail(run, errno, "fstat", NULL);
	if (op->owner && !is_overflow(&status) && fchownat(root, "", status.st_uid, status.st_gid, AT_EMPTY_PATH) < 0)
		return fail(run, errno, "chown", NULL);
	if (fchmodat(root, ".", status.st_mode & 07777, 0) < 0)
		return fail(run, errno, "chmod", NULL);
	return 0;
}

int op_copy_up(struct run *run, const struct copy_up *op)
{
	int hidden = run->slots[op->hidden], error;

	if (hidden < 0)
		return 0;
	error = copy_up(hidden, run->slots[op->slot]);
	return error < 0 ? fail(run, -error, "copy", NULL) : 0;
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

int bind_over(struct run *run, int source, int target, const char *path)
{
	_cleanup_close_ int tree = sys_open_tree(source, "", OPEN_TREE_CLONE | AT_EMPTY_PATH | O_CLOEXEC);
	int error;

	if (tree >= 0 && sys_move_mount(tree, target) == 0)
		return 0;
	if (errno != ENOSYS)
		return fail(run, errno, tree < 0 ? "open_tree" : "move_mount", path);
	error = bind_through_procfs(run, source, target, MS_BIND);
	return error < 0 ? fail(run, -error, "mount", path) : 0;
}

/* Keep the new mount.  It is found by its path again, so it must be what was bound and not what a neighbour put there meanwhile. */
static int keep_mount(struct run *run, const char *path, int64_t slot, const struct stat *source)
{
	_cleanup_close_ int mounted = open_in_root(run->rootfs_fd, path, O_PATH);
	struct stat status;

	if (mounted < 0)
		return fail(run, -mounted, "open", path);
	if (fstat(mounted, &status) < 0)
		return fail(run, errno, "fstat", path);
	if (source && (status.st_dev != source->st_dev || status.st_ino != source->st_ino))
		return fail(run, EAGAIN, "open", path);
	fill_slot(run, slot, TAKE_FD(mounted));
	return 0;
}

static int bind_source(struct run *run, const struct mount *op, const char *path)
{
	const char *source = text(run, op->source);
	_cleanup_close_ int from = open(source, O_PATH | O_CLOEXEC);
	_cleanup_close_ int target = -1;
	struct stat status;
	int error;

	if (from < 0 || fstat(from, &status) < 0)
		return fail(run, errno, "open", source);
	if (check_source(from, op->kind) < 0)
		return fail(run, EXDEV, "stat", "the source is not the root of a procfs");
	target = open_target(run, path, op->kind, S_ISDIR(status.st_mode));
	if (target < 0)
		return fail(run, -target, "open", path);
	error = bind_through_procfs(run, from, target, (unsigned long)op->flags);
	return error < 0 ? fail(run, -error, "mount", path) : keep_mount(run, path, op->slot, &status);
}

int op_mount(struct run *run, const struct mount *op)
{
	const char *path = text(run, op->target);
	_cleanup_close_ int target = -1;
	int error;

	if (op->flags & MS_BIND)
		return bind_source(run, op, path);
	target = op->flags & MS_REMOUNT ? open_in_root(run->rootfs_fd, path, O_PATH)
					: open_target(run, path, op->kind, true);
	if (target < 0)
		return fail(run, -target, "open", path);
	error = mount_through_procfs(run, text(run, op->source), target, text(run, op->fstype),
				     (unsigned long)op->flags, text(run, op->data));
	return error < 0 ? fail(run, -error, "mount", path) : keep_mount(run, path, op->slot, NULL);
}

/* The flags that a remount must repeat to keep them.  A negative errno on failure: 0 would clear all of them. */
static long current_flags(int fd)
{
	static const struct {
		unsigned long shown;
		long flag;
	} names[] = {
		{ ST_RDONLY, MS_RDONLY }, { ST_NOSUID, MS_NOSUID }, { 4 /* ST_NODEV */, MS_NODEV }, { 8, MS_NOEXEC },
		{ 1024, MS_NOATIME },     { 2048, MS_NODIRATIME },  { 4096, MS_RELATIME },          { 8192, 256 },
	};
	struct statvfs status;
	long flags = 0;

	if (fstatvfs(fd, &status) < 0)
		return -errno;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (status.f_flag & names[i].shown)
			flags |= names[i].flag;
	return flags & (MS_NOATIME | MS_RELATIME) ? flags : flags | MS_STRICTATIME;
}

int remount_through_procfs(struct run *run, int fd, unsigned long set, unsigned long clear)
{
	long current = current_flags(fd);
	unsigned long flags = ((unsigned long)current & ~clear) | set;

	return current < 0 ? (int)current
			   : mount_through_procfs(run, NULL, fd, NULL, flags | MS_REMOUNT | MS_BIND, NULL);
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
