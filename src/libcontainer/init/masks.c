/* Masked and read-only paths, and the read-only root: config-linux.md "maskedPaths", "readonlyPaths"; config.md "root.readonly".
 *
 * Runs after the change of root.  What is in a mount that was kept is looked up from that: whoever renames entries of the image's root
 * could otherwise make it miss, and have it back unmasked.  The path itself, where it may lead elsewhere, is treated alike.  The target is opened first and its absence is the only tolerated failure; the kind is read off the
 * descriptor; /dev/null is verified to be the device, since an image or a neighbour may have swapped it (CVE-2025-31133).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "kernel.h"
#include "mountapi.h"
#include "mounts.h"
#include "operations.h"
#include "path.h"

static int set_readonly(struct run *run, int fd, bool recursive)
{
	struct mount_attributes attributes = { .set = ATTR_RDONLY };

	if (sys_mount_setattr(fd, AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &attributes) == 0)
		return 0;
	return errno == ENOSYS ? remount_through_procfs(run, fd, MS_RDONLY, 0) : -errno;
}

/* Put a recursive bind of `target`, which is `inside` below `base`, on itself and return a descriptor of it. */
static int bind_on_itself(struct run *run, int target, int base, const char *inside)
{
	_cleanup_close_ int tree =
		sys_open_tree(target, "", OPEN_TREE_CLONE | AT_RECURSIVE | AT_EMPTY_PATH | O_CLOEXEC);
	int error;

	if (tree >= 0 && sys_move_mount(tree, target) == 0)
		return TAKE_FD(tree);
	if (errno != ENOSYS)
		return -errno;
	error = bind_through_procfs(run, target, target, MS_BIND | MS_REC);
	return error < 0 ? error : open_in_root(base, inside, O_PATH);
}

/* Does the mount point of the kept mount, which is `path` without `inside`, lead to it?  Looked up once for the paths in a row that are in it. */
static bool leads_to_kept(struct run *run, int64_t slot, const char *path, const char *inside)
{
	char mount_point[16] = { 0 }; /* KEPT in mounts.py */
	size_t length = strlen(path), below = strlen(inside);
	_cleanup_close_ int found = -1;

	if (run->kept_slot == slot)
		return run->kept_leads;
	if (below >= length || length - below >= sizeof(mount_point) || strcmp(path + length - below, inside) != 0)
		return false;
	memcpy(mount_point, path, length - below);
	found = open_in_root(run->rootfs_fd, mount_point, O_PATH);
	run->kept_slot = slot;
	run->kept_leads = found >= 0 && is_same_mount(found, run->slots[slot]);
	return run->kept_leads;
}

/* The one place that both `path` and `inside` below the kept mount lead to; -EXDEV where they may lead to two, by a link or "..". */
static int open_kept(struct run *run, int64_t slot, const char *path, const char *inside)
{
	int target;

	if (run->slots[slot] < 0 || strstr(inside, "..") || !leads_to_kept(run, slot, path, inside))
		return -EXDEV;
	target = open_in_root_without_symlinks(run->slots[slot], inside);
	return target == -ELOOP ? -EXDEV : target;
}

/* Does `path` below the root lead to what `inside` is below `base`?  `flags`: O_NOFOLLOW where a link at the end is not followed. */
static bool is_same_place(struct run *run, int base, const char *inside, const char *path, int flags)
{
	_cleanup_close_ int kept = open_in_root(base, inside, O_PATH | flags);
	_cleanup_close_ int found = open_in_root(run->rootfs_fd, path, O_PATH | flags);
	struct stat one, other;

	return kept >= 0 && found >= 0 && fstat(kept, &one) == 0 && fstat(found, &other) == 0 &&
	       one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

/* The read-only bind of `target`, which is `inside` below `base`; `path` is its name in errors. */
static int bind_readonly(struct run *run, int opened, int base, const char *inside, const char *path)
{
	_cleanup_close_ int target = opened;
	_cleanup_close_ int bound = -1;
	int error;

	if (target == -ENOENT)
		return 0;
	if (target < 0)
		return fail(run, -target, "open", path);
	bound = bind_on_itself(run, target, base, inside);
	if (bound < 0)
		return fail(run, -bound, "move_mount", path);
	error = set_readonly(run, bound, true);
	return error < 0 ? fail(run, -error, "mount_setattr", path) : 0;
}

static int bind_paths_readonly(struct run *run, const struct make_readonly *op)
{
	const char *path = text(run, op->path), *inside = text(run, op->inside);
	int base = run->slots[op->base], error = 0;
	int kept = open_kept(run, op->base, path, inside);

	if (kept != -EXDEV)
		return bind_readonly(run, kept, base, inside, path);
	if (base >= 0)
		error = bind_readonly(run, open_in_root(base, inside, O_PATH), base, inside, path);
	if (error == 0 && !(base >= 0 && is_same_place(run, base, inside, path, 0)))
		error = bind_readonly(run, open_in_root(run->rootfs_fd, path, O_PATH), run->rootfs_fd, path, path);
	return error;
}

int op_make_readonly(struct run *run, const struct make_readonly *op)
{
	const char *path = text(run, op->path);
	_cleanup_close_ int target = -1;
	int error;

	if (op->bind)
		return bind_paths_readonly(run, op);
	target = open_in_root(run->rootfs_fd, path, O_PATH);
	if (target < 0)
		return fail(run, -target, "open", path);
	error = set_readonly(run, target, false);
	return error < 0 ? fail(run, -error, "mount_setattr", path) : 0;
}

/* One empty file system serves every masked directory: it costs one superblock, not one a path. */
static int clone_empty_directory(struct run *run)
{
	_cleanup_close_ int fs_fd = -1;

	if (run->mask_fd >= 0)
		return sys_open_tree(run->mask_fd, "", OPEN_TREE_CLONE | AT_EMPTY_PATH | O_CLOEXEC);
	fs_fd = sys_fsopen("tmpfs");
	if (fs_fd < 0 || sys_fsconfig(fs_fd, FSCONFIG_STRING, "nr_blocks", "1") < 0 ||
	    sys_fsconfig(fs_fd, FSCONFIG_STRING, "nr_inodes", "1") < 0 ||
	    sys_fsconfig(fs_fd, FSCONFIG_CREATE, NULL, NULL) < 0)
		return -1;
	return sys_fsmount(fs_fd, ATTR_RDONLY | ATTR_NOSUID | ATTR_NODEV | ATTR_NOEXEC);
}

static int mask_directory(struct run *run, int target, const char *path)
{
	_cleanup_close_ int tree = clone_empty_directory(run);
	int error;

	if (tree >= 0 && sys_move_mount(tree, target) == 0) {
		if (run->mask_fd < 0)
			run->mask_fd = TAKE_FD(tree);
		return 0;
	}
	if (errno != ENOSYS)
		return fail(run, errno, tree < 0 ? "fsmount" : "move_mount", path);
	error = mount_through_procfs(run, "tmpfs", target, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
				     "nr_blocks=1,nr_inodes=1");
	return error < 0 ? fail(run, -error, "mount", path) : 0;
}

static int mask_file(struct run *run, int target, const char *path)
{
	_cleanup_close_ int null = open_in_root(run->rootfs_fd, "/dev/null", O_PATH | O_NOFOLLOW);

	if (null < 0)
		return fail(run, -null, "open", "/dev/null");
	if (verify_device(null, 1, 3) < 0)
		return fail(run, ENODEV, "stat", "/dev/null is not the null device");
	return bind_over(run, null, target, path);
}

/* The mask over `opened`; `path` is its name in errors. */
static int mask(struct run *run, int opened, const char *path)
{
	_cleanup_close_ int target = opened;
	struct stat status;

	if (target == -ENOENT || target == -ENOTDIR)
		return 0;
	if (target < 0)
		return fail(run, -target, "open", path);
	if (fstat(target, &status) < 0)
		return fail(run, errno, "fstat", path);
	if (S_ISLNK(status.st_mode)) /* masking what it points to now would not mask what it points to later */
		return fail(run, ELOOP, "open", path);
	return S_ISDIR(status.st_mode) ? mask_directory(run, target, path) : mask_file(run, target, path);
}

int op_mask_path(struct run *run, const struct mask_path *op)
{
	const char *path = text(run, op->path), *inside = text(run, op->inside);
	int base = run->slots[op->base], error = 0;
	int kept = open_kept(run, op->base, path, inside);

	if (kept != -EXDEV)
		return mask(run, kept, path);
	if (base >= 0)
		error = mask(run, open_in_root(base, inside, O_PATH | O_NOFOLLOW), path);
	if (error == 0 && !(base >= 0 && is_same_place(run, base, inside, path, O_NOFOLLOW)))
		error = mask(run, open_in_root(run->rootfs_fd, path, O_PATH | O_NOFOLLOW), path);
	return error;
}
