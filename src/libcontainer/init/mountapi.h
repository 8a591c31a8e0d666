/* The mount calls since Linux 5.2 (fsopen(2), fsmount(2), open_tree(2), move_mount(2)) and 5.12 (mount_setattr(2)).
 * Neither musl nor older glibc declares them, and init includes no kernel headers. */
#ifndef MOUNTAPI_H
#define MOUNTAPI_H

#include <fcntl.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_open_tree
#define SYS_open_tree 428
#define SYS_move_mount 429
#define SYS_fsopen 430
#define SYS_fsconfig 431
#define SYS_fsmount 432
#endif
#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif

#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif
#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif

#define FSOPEN_CLOEXEC_ 1
#define FSMOUNT_CLOEXEC_ 1
#define FSCONFIG_FLAG 0
#define FSCONFIG_STRING 1
#define FSCONFIG_CREATE 6
#define MOVE_MOUNT_EMPTY_PATHS 0x44 /* F_EMPTY_PATH | T_EMPTY_PATH */
#define ATTR_RDONLY 0x1
#define ATTR_NOSUID 0x2
#define ATTR_NODEV 0x4
#define ATTR_NOEXEC 0x8
#define ATTR_IDMAP 0x100000

struct mount_attributes {
	uint64_t set;
	uint64_t clear;
	uint64_t propagation;
	uint64_t userns_fd;
};

static inline int sys_open_tree(int fd, const char *path, unsigned flags)
{
	return (int)syscall(SYS_open_tree, fd, path, flags);
}

static inline int sys_move_mount(int from, int to)
{
	return (int)syscall(SYS_move_mount, from, "", to, "", MOVE_MOUNT_EMPTY_PATHS);
}

static inline int sys_fsopen(const char *fstype)
{
	return (int)syscall(SYS_fsopen, fstype, FSOPEN_CLOEXEC_);
}

static inline int sys_fsconfig(int fd, unsigned command, const char *key, const char *value)
{
	return (int)syscall(SYS_fsconfig, fd, command, key, value, 0);
}

static inline int sys_fsmount(int fd, uint64_t attributes)
{
	return (int)syscall(SYS_fsmount, fd, FSMOUNT_CLOEXEC_, (unsigned)attributes);
}

static inline int sys_mount_setattr(int fd, unsigned flags, const struct mount_attributes *attributes)
{
	return (int)syscall(SYS_mount_setattr, fd, "", flags, attributes, sizeof(*attributes));
}

#endif
