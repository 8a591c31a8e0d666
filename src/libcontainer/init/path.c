/* Path resolution confined to a directory: openat2(2), and the same in user space.
 *
 * openat2 is hidden from many callers: kernels before 5.6 and seccomp filters say ENOSYS, nspawn says EPERM, others
 * EINVAL. The walk below understands the same RESOLVE_* bits, so that each public function is one set of bits. */
#include "kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>

#include "path.h"

#define RESOLVE_TRIES 128 /* of a lookup that somebody's renames keep spoiling */
#define LINKS_MAX 40      /* MAXSYMLINKS of the kernel */
#define DEPTH_MAX 128     /* descriptors that one walk may hold */
#define ARRIVED 1

#define CONFINED (RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)

/* Which mount something is on. The device only where the kernel tells no mount id: on overlayfs it differs per file. */
struct mount_identity {
	uint64_t id;
	dev_t device;
};

/* A lookup on its way. The directories between the root and here are held open, so that ".." is a step back to one
 * of them: opened by name it would lead out of the root if the directory were moved out meanwhile. */
struct walk {
	int root_fd;      /* borrowed */
	uint64_t resolve; /* RESOLVE_* */
	bool follow;      /* a symlink as last component is followed */
	bool create;      /* missing parents are made; a missing last component is for the caller to make */
	bool slash;       /* the component in hand has a slash behind it */
	unsigned links;
	unsigned depth;
	int held[DEPTH_MAX];
	struct mount_identity mount;
	char *rest; /* what is still to be read. It ends where the buffer ends, so a link's target fits in before it. */
	char buffer[2 * PATH_MAX];
};

static bool fallback_forced = false;

void path_force_fallback(bool force)
{
	fallback_forced = force;
}

static int get_mount(int fd, struct mount_identity *ret)
{
	struct kernel_statx status = { 0 };
	struct stat st;

	if (syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &status) == 0 && (status.stx_mask & STATX_MNT_ID)) {
		*ret = (struct mount_identity){ .id = status.stx_mnt_id };
		return 0;
	}
	if (fstat(fd, &st) < 0)
		return -errno;
	*ret = (struct mount_identity){ .device = st.st_dev };
	return 0;
}

/* Everything that is opened passes here, also the end of the path: an over-mounted file is the attack of CVE-2025-52881. */
static int check_mount(const struct walk *walk, int fd)
{
	struct mount_identity mount;
	int r;

	if (!(walk->resolve & RESOLVE_NO_XDEV))
		return 0;
	r = get_mount(fd, &mount);
	if (r < 0)
		return r;
	return mount.id == walk->mount.id && mount.device == walk->mount.device ? 0 : -EXDEV;
}

static int here(const struct walk *walk)
{
	return walk->depth > 0 ? walk->held[walk->depth - 1] : walk->root_fd;
}

static void return_to_root(struct walk *walk)
{
	while (walk->depth > 0)
		(void)close(walk->held[--walk->depth]);
}

static int walk_begin(struct walk *walk, const char *path)
{
	size_t length = strlen(path);

	if (length == 0)
		return -ENOENT;
	if (length >= PATH_MAX)
		return -ENAMETOOLONG;
	if (*path == '/' && (walk->resolve & RESOLVE_BENEATH))
		return -EXDEV;
	walk->rest = walk->buffer + sizeof(walk->buffer) - length - 1;
	memcpy(walk->rest, path, length + 1);
	return walk->resolve & RESOLVE_NO_XDEV ? get_mount(walk->root_fd, &walk->mount) : 0;
}

/* Takes the next component off the path: its length, 0 at the end (and the empty name), or -ENAMETOOLONG. */
static int take_component(struct walk *walk, char name[NAME_MAX + 1])
{
	size_t length;

	walk->rest += strspn(walk->rest, "/");
	length = strcspn(walk->rest, "/");
	if (length > NAME_MAX)
		return -ENAMETOOLONG;
	memcpy(name, walk->rest, length);
	name[length] = '\0';
	walk->rest += length;
	walk->slash = *walk->rest == '/';
	return (int)length;
}

static int step_up(struct walk *walk)
{
	if (walk->depth > 0)
		(void)close(walk->held[--walk->depth]);
	else if (walk->resolve & RESOLVE_BENEATH)
		return -EXDEV;
	return 0;
}

/* May the kernel's own rules have this link followed? A magic link of procfs leads to an object whatever its text says.
 * Its text is absolute, or has a colon ("pipe:[1]"), or a parenthesis ("(unreachable)/x"); the plain links of procfs
 * ("self", "net") have none of these. Nothing rests on it: the walk reads the text and never lets the kernel follow. */
static int check_link(int link_fd, const char *target)
{
	struct statfs fs;

	if (fstatfs(link_fd, &fs) < 0)
		return -errno;
	if (fs.f_flags & ST_NOSYMFOLLOW)
		return -ELOOP;
	if ((unsigned long)fs.f_type == PROC_SUPER_MAGIC && (*target == '/' || strpbrk(target, ":(")))
		return -ELOOP;
	return 0;
}

/* Puts the target of a symlink before the rest of the path. */
static int follow_link(struct walk *walk, int link_fd)
{
	char target[PATH_MAX];
	ssize_t length;
	int r;

	if ((walk->resolve & RESOLVE_NO_SYMLINKS) || walk->links++ >= LINKS_MAX)
		return -ELOOP;
	length = readlinkat(link_fd, "", target, sizeof(target));
	if (length < 0)
		return -errno;
	if (length == 0)
		return -ENOENT;
	if (length == (ssize_t)sizeof(target) || length > walk->rest - walk->buffer)
		return -ENAMETOOLONG;
	target[length] = '\0';
	r = check_link(link_fd, target);
	if (r < 0)
		return r;
	walk->rest -= length;
	memcpy(walk->rest, target, (size_t)length);
	if (*target == '/')
		return_to_root(walk);
	return 0;
}

/* Makes a directory or an empty file, never through a symlink and never over something. The umask is set aside, because
 * a chmod afterwards needs a second lookup of a directory, which could then be another one. */
static int make_node(int parent_fd, const char *name, mode_t mode)
{
	mode_t mask = umask(0);
	int r, error;

	if (S_ISDIR(mode))
		r = mkdirat(parent_fd, name, mode & 07777);
	else
		r = openat(parent_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode & 07777);
	error = errno;
	(void)umask(mask);
	if (r < 0)
		return -error;
	if (!S_ISDIR(mode))
		(void)close(r);
	return 0;
}

static int open_component(struct walk *walk, const char *name, bool create)
{
	_cleanup_close_ int fd = openat(here(walk), name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	int r;

	if (fd < 0 && errno == ENOENT && create) {
		r = make_node(here(walk), name, S_IFDIR | 0755);
		if (r < 0 && r != -EEXIST)
			return r;
		/* Who came first may have put a symlink there: it is looked at like any other component. */
		fd = openat(here(walk), name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	}
	if (fd < 0)
		return -errno;
	r = check_mount(walk, fd);
	return r < 0 ? r : TAKE_FD(fd);
}

/* Goes into `name`, or into what it links to. ARRIVED: it is the last component and stands in the directory held. */
static int step_into(struct walk *walk, const char *name)
{
	bool last = walk->rest[strspn(walk->rest, "/")] == '\0';
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (last && !walk->follow && !walk->slash) /* "link/" is followed whatever the flags */
		return ARRIVED;
	fd = open_component(walk, name, walk->create && !last);
	if (fd == -ENOENT && walk->create && last)
		return ARRIVED;
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (S_ISLNK(st.st_mode))
		return follow_link(walk, fd);
	if (last)
		return ARRIVED;
	if (!S_ISDIR(st.st_mode))
		return -ENOTDIR;
	if (walk->depth == DEPTH_MAX)
		return -ENAMETOOLONG;
	walk->held[walk->depth++] = TAKE_FD(fd);
	return 0;
}

/* Walks until one component is left and gives its name; the empty name where the path ends in the directory held. */
static int walk_to_last(struct walk *walk, char name[NAME_MAX + 1])
{
	for (;;) {
		int r = take_component(walk, name);

		if (r <= 0)
			return r;
		if (strcmp(name, ".") == 0)
			continue;
		r = strcmp(name, "..") == 0 ? step_up(walk) : step_into(walk, name);
		if (r != 0)
			return r < 0 ? r : 0;
	}
}

/* Opens the last component. It was no symlink when the walk saw it; if it is one now, the lookup starts again. */
static int open_last(struct walk *walk, const char *name, int flags)
{
	_cleanup_close_ int fd = -1;
	struct stat st;
	int r;

	if (*name == '\0') {
		fd = openat(here(walk), ".", flags | O_CLOEXEC);
		return fd < 0 ? -errno : TAKE_FD(fd);
	}
	flags |= O_NOFOLLOW | O_CLOEXEC | (walk->slash ? O_DIRECTORY : 0);
	fd = openat(here(walk), name, flags);
	if (fd < 0)
		return errno == ELOOP && walk->follow ? -EAGAIN : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (S_ISLNK(st.st_mode) && walk->follow)
		return -EAGAIN;
	r = check_mount(walk, fd);
	return r < 0 ? r : TAKE_FD(fd);
}

static int open_by_walking(int dir_fd, const char *path, int flags, uint64_t resolve)
{
	_cleanup_(return_to_root) struct walk walk = {
		.root_fd = dir_fd,
		.resolve = resolve,
		.follow = !(flags & O_NOFOLLOW),
	};
	char name[NAME_MAX + 1];
	int r = walk_begin(&walk, path);

	if (r < 0)
		return r;
	r = walk_to_last(&walk, name);
	return r < 0 ? r : open_last(&walk, name, flags);
}

static int open_by_kernel(int dir_fd, const char *path, int flags, uint64_t resolve)
{
	struct kernel_open_how how = { .flags = (uint32_t)(flags | O_CLOEXEC), .resolve = resolve };
	long fd = syscall(SYS_openat2, dir_fd, path, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

/* EAGAIN from openat2 means that some rename or mount, anywhere, ran beside a step to "..": normal, but not for ever. */
static int resolve_path(int dir_fd, const char *path, int flags, uint64_t resolve)
{
	int r = -EAGAIN;

	for (unsigned i = 0; i < RESOLVE_TRIES && r == -EAGAIN; i++) {
		r = fallback_forced ? -ENOSYS : open_by_kernel(dir_fd, path, flags, resolve);
		if (r == -ENOSYS || r == -EPERM || r == -EINVAL)
			r = open_by_walking(dir_fd, path, flags, resolve);
	}
	return r;
}

/* Makes what is missing of `path`; the type in `mode` is that of the last component. -EEXIST: there it is already. */
static int make_missing(int rootfs_fd, const char *path, mode_t mode, uint64_t resolve)
{
	_cleanup_(return_to_root) struct walk walk = {
		.root_fd = rootfs_fd,
		.resolve = resolve,
		.follow = true,
		.create = true,
	};
	char name[NAME_MAX + 1];
	int r = walk_begin(&walk, path);

	if (r < 0)
		return r;
	r = walk_to_last(&walk, name);
	if (r < 0)
		return r;
	if (*name == '\0')
		return -EEXIST;
	if (walk.slash && !S_ISDIR(mode)) /* what is there, the lookup tells */
		return faccessat(here(&walk), name, F_OK, AT_SYMLINK_NOFOLLOW) == 0 ? -EEXIST : -EISDIR;
	return make_node(here(&walk), name, mode);
}

/* Splits `path` before its last component, which must be a name: -EINVAL for "/", ".", ".." and a slash at the end. */
static int split_path(const char *path, char ret_parent[PATH_MAX], const char **ret_name)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	size_t length = (size_t)(name - path);

	if (*path == '\0')
		return -ENOENT;
	if (*name == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return -EINVAL;
	if (length >= PATH_MAX || strlen(name) > NAME_MAX)
		return -ENAMETOOLONG;
	memcpy(ret_parent, path, length); /* with its slash */
	strcpy(ret_parent + length, length > 0 ? "" : "/");
	*ret_name = name;
	return 0;
}

/* Makes and opens the directory that is the last component of `path`, where nothing else is missing: one lookup by the kernel finds
 * its parent. -EAGAIN where the walk has to look: parents are missing, the name is a link to nothing, or somebody came first. */
static int make_last(int rootfs_fd, const char *path, mode_t mode, uint64_t resolve)
{
	_cleanup_close_ int parent_fd = -1;
	char parent[PATH_MAX];
	const char *name;
	int fd;

	if (!S_ISDIR(mode) || split_path(path, parent, &name) < 0)
		return -EAGAIN;
	parent_fd = resolve_path(rootfs_fd, parent, O_PATH | O_DIRECTORY, resolve);
	if (parent_fd < 0 || make_node(parent_fd, name, mode) < 0)
		return -EAGAIN;
	fd = openat(parent_fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -EAGAIN : fd;
}

/* Whoever makes it, it is looked at when it is opened: what is there by then is taken, or refused, as found. */
static int open_or_make(int rootfs_fd, const char *path, int flags, mode_t mode, uint64_t resolve)
{
	for (unsigned i = 0; i < RESOLVE_TRIES; i++) {
		int r = resolve_path(rootfs_fd, path, flags, resolve);

		if (r != -ENOENT)
			return r;
		r = make_last(rootfs_fd, path, mode, resolve);
		if (r >= 0)
			return r;
		r = make_missing(rootfs_fd, path, mode, resolve);
		if (r < 0 && r != -EEXIST)
			return r;
	}
	return -EAGAIN;
}

static bool flags_create(int flags)
{
	return (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE;
}

int open_in_root(int rootfs_fd, const char *path, int flags)
{
	if (flags_create(flags))
		return -EINVAL;
	return resolve_path(rootfs_fd, path, flags, CONFINED);
}

int open_in_root_without_symlinks(int rootfs_fd, const char *path)
{
	return resolve_path(rootfs_fd, path, O_PATH, CONFINED | RESOLVE_NO_SYMLINKS);
}

int open_beneath_real(int dir_fd, const char *path, int flags)
{
	if (flags_create(flags))
		return -EINVAL;
	/* With O_PATH|O_NOFOLLOW the kernel would hand out a symlink at the end in spite of RESOLVE_NO_SYMLINKS. */
	return resolve_path(dir_fd, path, flags & ~O_NOFOLLOW,
			    RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV);
}

int make_directory_in_root(int rootfs_fd, const char *path, mode_t mode)
{
	return open_or_make(rootfs_fd, path, O_PATH | O_DIRECTORY, S_IFDIR | (mode & 07777), CONFINED);
}

int make_file_in_root(int rootfs_fd, const char *path, mode_t mode)
{
	_cleanup_close_ int fd = open_or_make(rootfs_fd, path, O_PATH, S_IFREG | (mode & 07777), CONFINED);
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	return S_ISDIR(st.st_mode) ? -EISDIR : TAKE_FD(fd);
}

int open_parent_in_root(int rootfs_fd, const char *path, bool create, const char **ret_name)
{
	char parent[PATH_MAX];
	const char *name;
	int fd = split_path(path, parent, &name);

	if (fd < 0)
		return fd;
	fd = create ? make_directory_in_root(rootfs_fd, parent, 0755)
		    : open_in_root(rootfs_fd, parent, O_PATH | O_DIRECTORY);
	if (fd >= 0)
		*ret_name = name;
	return fd;
}

int open_directory_without_symlinks(int rootfs_fd, const char *path, bool create)
{
	const int flags = O_PATH | O_DIRECTORY;
	const uint64_t resolve = CONFINED | RESOLVE_NO_SYMLINKS;

	return create ? open_or_make(rootfs_fd, path, flags, S_IFDIR | 0755, resolve)
		      : resolve_path(rootfs_fd, path, flags, resolve);
}

bool is_same_mount(int one, int other)
{
	struct mount_identity first, second;

	return get_mount(one, &first) == 0 && get_mount(other, &second) == 0 && first.id != 0 && first.id == second.id;
}

int verify_filesystem(int fd, unsigned long magic)
{
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0)
		return -errno;
	/* The kernel's numbers have 32 bits; f_type is signed and of another width on some machines. */
	return (uint32_t)fs.f_type == (uint32_t)magic ? 0 : -EXDEV;
}

int verify_device(int fd, unsigned major, unsigned minor)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	return S_ISCHR(st.st_mode) && st.st_rdev == makedev(major, minor) ? 0 : -ENODEV;
}
