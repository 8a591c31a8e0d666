/* Names in a tree that belongs to somebody else.
 *
 * The image owns every component of every path below the rootfs, and with a shared volume another container may rename
 * them at any moment. So no path is looked up twice: it is resolved once, confined to a directory that is held open, and
 * from then on only the descriptor is used (CVE-2021-30465, CVE-2024-45310, CVE-2026-41579).
 *
 * Every function returns a descriptor (close-on-exec) or 0, or a negative errno. -EAGAIN: the tree kept changing under
 * the lookup until the tries ran out. Nothing is allocated. One thread only: making a node sets the umask for a moment. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>
#include <unistd.h>

#ifndef TAKE_FD
static inline void close_descriptor(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}

static inline int take_descriptor(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

#define _cleanup_(function) __attribute__((cleanup(function)))
#define _cleanup_close_ _cleanup_(close_descriptor)
#define TAKE_FD(fd) take_descriptor(&(fd))
#endif

/* Opens `path` as if `rootfs_fd` were "/": absolute symlinks and ".." stay inside, magic links of procfs are refused
 * (-ELOOP). `flags` as open(2) without O_CREAT and O_TMPFILE (-EINVAL).
 * openat2(2) where it may be used, else a walk in user space, which differs in this: more than 128 directories deep, or
 * symlinks whose unread rest outgrows 8 KiB, are -ENAMETOOLONG. */
int open_in_root(int rootfs_fd, const char *path, int flags);

/* The same with O_PATH, where no component may be a symlink, the last one included (-ELOOP). */
int open_in_root_without_symlinks(int rootfs_fd, const char *path);

/* Opens `path` below `dir_fd` where nothing may redirect it: no symlink in any component, the last one included
 * (-ELOOP), no other mount and nothing above (-EXDEV). For writes to a private procfs (CVE-2025-52881).
 * Without openat2 other mounts are told by their mount id; before Linux 5.8, which has none, by the device alone. */
int open_beneath_real(int dir_fd, const char *path, int flags);

/* Opens the directory `path` with O_PATH and makes what is missing of it: parents with mode 0755, the last with `mode`,
 * whatever the umask. Symlinks are followed inside the root; where one dangles, the directory is made at the place it
 * names. What exists keeps its mode. -ENOTDIR: something else is there. */
int make_directory_in_root(int rootfs_fd, const char *path, mode_t mode);

/* The same for a file: O_PATH of what is there already and is no directory (-EISDIR), or of a new empty file. */
int make_file_in_root(int rootfs_fd, const char *path, mode_t mode);

/* Opens the directory that holds the last component of `path`, with O_PATH, and points `ret_name` at that component,
 * inside `path`. For mknodat, symlinkat and unlinkat: the last component itself is not looked at. With `create` missing
 * parents are made. -EINVAL: the last component is no name ("/", ".", "..", or a slash at the end). */
int open_parent_in_root(int rootfs_fd, const char *path, bool create, const char **ret_name);

/* Opens the directory `path` with O_PATH where every component is a real directory; -ELOOP for a symlink, -ENOTDIR for
 * anything else. For the targets of proc, sysfs and cgroups (CVE-2019-19921, CVE-2023-27561). With `create`, what is
 * missing is made with mode 0755. */
int open_directory_without_symlinks(int rootfs_fd, const char *path, bool create);

/* Are both descriptors on one and the same mount? False also where the kernel tells no mount id (before Linux 5.8). */
bool is_same_mount(int one, int other);

/* Is `fd` on a file system of this type (statfs(2), f_type)? 0, or -EXDEV where it is on another. */
int verify_filesystem(int fd, unsigned long magic);

/* Is `fd` this character device? 0, or -ENODEV where it is anything else (CVE-2025-31133). */
int verify_device(int fd, unsigned major, unsigned minor);

/* For tests: resolve in user space even where openat2 works. */
void path_force_fallback(bool force);
