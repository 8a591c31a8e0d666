/* The root file system: taken, filled with nodes, and made the root.  pivot_root(2), config-linux.md "rootfsPropagation", "devices". */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kernel.h"
#include "mountapi.h"
#include "mounts.h"
#include "operations.h"
#include "path.h"
#include "procfs.h"

/* Only the mount point itself can be changed: go up from the directory until the call finds one. */
int op_make_parent_private(struct run *run, const struct make_parent_private *op)
{
	char path[PATH_MAX];
	char *slash;

	snprintf(path, sizeof(path), "%s", text(run, op->path));
	for (;;) {
		if (mount(NULL, path, NULL, MS_PRIVATE, NULL) == 0)
			return 0;
		if (errno != EINVAL || strcmp(path, "/") == 0)
			return fail(run, errno, "mount", path);
		slash = strrchr(path, '/');
		if (slash == path)
			slash++;
		*slash = 0;
	}
}

static int take_rootfs(struct run *run, const char *path)
{
	if (run->rootfs_fd >= 0)
		close(run->rootfs_fd);
	run->rootfs_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return run->rootfs_fd < 0 ? fail(run, errno, "open", path) : 0;
}

int op_take_rootfs(struct run *run, const struct take_rootfs *op)
{
	run->rootfs_fd = run->fds[op->root];
	run->fds[op->root] = -1;
	return 0;
}

/* mount(2) knows places by their paths only, and none leads here.  So the working directory is bound where one leads, opened there, and
 * moved upon itself: for kernels before 5.2. */
static int bind_working_directory(struct run *run, const char *path)
{
	if (mount(".", "/proc", NULL, MS_BIND | MS_REC, NULL) < 0)
		return fail(run, errno, "mount", path);
	if (take_rootfs(run, "/proc") < 0)
		return -1;
	return mount("/proc", ".", NULL, MS_MOVE, NULL) < 0 ? fail(run, errno, "mount", path) : 0;
}

/* The working directory moved to the new mount namespace with us, where no path may lead to it any more: clone(2), CLONE_NEWNS. */
static int take_working_directory(struct run *run, const char *path)
{
	_cleanup_close_ int below = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int tree = sys_open_tree(AT_FDCWD, ".", OPEN_TREE_CLONE | AT_RECURSIVE | O_CLOEXEC);

	if (tree < 0)
		return errno == ENOSYS ? bind_working_directory(run, path) : fail(run, errno, "open_tree", path);
	run->rootfs_fd = tree;
	if (below < 0)
		return fail(run, errno, "open", path);
	if (sys_move_mount(tree, below) < 0)
		return fail(run, errno, "move_mount", path);
	return 0;
}

int op_open_rootfs(struct run *run, const struct open_rootfs *op)
{
	const char *path = text(run, op->path);

	if (op->bind == 2)
		return take_working_directory(run, path);
	if (op->bind && mount(path, path, NULL, MS_BIND | MS_REC, NULL) < 0)
		return fail(run, errno, "mount", path);
	return take_rootfs(run, path);
}

int op_make_directory(struct run *run, const struct make_directory *op)
{
	_cleanup_close_ int fd = make_directory_in_root(run->rootfs_fd, text(run, op->path), (mode_t)op->mode);

	return fd < 0 ? fail(run, -fd, "mkdir", text(run, op->path)) : 0;
}

int op_make_symlink(struct run *run, const struct make_symlink *op)
{
	const char *path = text(run, op->path), *name;
	_cleanup_close_ int parent = open_parent_in_root(run->rootfs_fd, path, true, &name);

	if (parent < 0)
		return fail(run, -parent, "open", path);
	if (op->replace && unlinkat(parent, name, 0) < 0 && errno != ENOENT)
		return fail(run, errno, "unlink", path);
	if (symlinkat(text(run, op->target), parent, name) < 0 && errno != EEXIST)
		return fail(run, errno, "symlink", path);
	return 0;
}

/* A node that exists must be the requested one.  What was checked is what is changed: by its name, another container with the
 * same volume could put a link to a file of the host in between. */
static int take_node(struct run *run, int parent, const char *name, const struct make_device *op)
{
	const char *path = text(run, op->path);
	_cleanup_close_ int node = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat status;
	int error;

	if (node < 0 || fstat(node, &status) < 0)
		return fail(run, errno, "open", path);
	if ((status.st_mode & S_IFMT) != ((mode_t)op->mode & S_IFMT))
		return fail(run, EEXIST, "mknod", path);
	if (!S_ISFIFO(status.st_mode) && status.st_rdev != (dev_t)op->device)
		return fail(run, EEXIST, "mknod", path);
	if (fchownat(node, "", (uid_t)op->uid, (gid_t)op->gid, AT_EMPTY_PATH) < 0)
		return fail(run, errno, "chown", path);
	error = change_mode(run, node, (mode_t)op->mode & 07777);
	return error < 0 ? fail(run, -error, "chmod", path) : 0;
}

int op_make_device(struct run *run, const struct make_device *op)
{
	const char *path = text(run, op->path), *name;
	_cleanup_close_ int parent = open_parent_in_root(run->rootfs_fd, path, true, &name);
	mode_t previous;
	int made;

	if (parent < 0)
		return fail(run, -parent, "open", path);
	previous = umask(0);
	made = mknodat(parent, name, (mode_t)op->mode, (dev_t)op->device);
	(void)umask(previous);
	if (made < 0 && errno == EEXIST)
		return take_node(run, parent, name, op);
	if (made < 0)
		return fail(run, errno, "mknod", path);
	if ((op->uid || op->gid) && fchownat(parent, name, (uid_t)op->uid, (gid_t)op->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return fail(run, errno, "chown", path);
	return 0;
}

/* The old root ends up on top of the new one; made a slave first, so that its unmounting does not reach the host. */
int op_pivot_root(struct run *run, const struct pivot_root *op)
{
	_cleanup_close_ int old_root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

	(void)op;
	if (old_root < 0 || fchdir(run->rootfs_fd) < 0)
		return fail(run, errno, "chdir", "rootfs");
	if (syscall(SYS_pivot_root, ".", ".") < 0)
		return fail(run, errno, "pivot_root", NULL);
	if (fchdir(old_root) < 0)
		return fail(run, errno, "chdir", "the old root");
	if (mount(NULL, ".", NULL, MS_SLAVE | MS_REC, NULL) < 0)
		return fail(run, errno, "mount", "the old root");
	if (umount2(".", MNT_DETACH) < 0)
		return fail(run, errno, "umount2", "the old root");
	if (chdir("/") < 0)
		return fail(run, errno, "chdir", "/");
	return take_rootfs(run, "/");
}

int op_change_root(struct run *run, const struct change_root *op)
{
	(void)op;
	if (fchdir(run->rootfs_fd) < 0 || chroot(".") < 0)
		return fail(run, errno, "chroot", NULL);
	return take_rootfs(run, "/");
}

int op_move_root(struct run *run, const struct move_root *op)
{
	(void)op;
	if (fchdir(run->rootfs_fd) < 0)
		return fail(run, errno, "chdir", "rootfs");
	if (mount(".", "/", NULL, MS_MOVE, NULL) < 0)
		return fail(run, errno, "mount", "MS_MOVE");
	if (chroot(".") < 0 || chdir("/") < 0)
		return fail(run, errno, "chroot", NULL);
	return take_rootfs(run, "/");
}

/* Without pivot_root the host's /proc and /sys stay in the mount namespace, complete and unmasked (security note of runc's --no-pivot). */
int op_hide_mount(struct run *run, const struct hide_mount *op)
{
	const char *path = text(run, op->path);

	if (mount(NULL, path, NULL, MS_SLAVE | MS_REC, NULL) < 0 && errno != EINVAL && errno != ENOENT)
		return fail(run, errno, "mount", path);
	if (umount2(path, MNT_DETACH) == 0 || errno == ENOENT)
		return 0;
	if (errno != EINVAL && errno != EPERM)
		return fail(run, errno, "umount2", path);
	if (mount("tmpfs", path, "tmpfs", MS_RDONLY, "nr_inodes=1") < 0)
		return fail(run, errno, "mount", path);
	return 0;
}
