/* Copy-up: see copyup.h. A loop over a stack of open directories; nothing recurses, nothing is allocated. */
#include "kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#include "copyup.h"
#include "path.h"

#define DEPTH_MAX 128   /* two descriptors each, well below the usual limit of 1024 */
#define CHUNK (1 << 30) /* sendfile(2) moves less than 2 GiB at once */
#define DESCENDED 1

#define DIRECTORY_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

/* One directory under way. All levels share one buffer for the entries: `resume` says where to read on after a child. */
struct level {
	int source;
	int dest;
	off_t resume;
};

struct copy {
	int compromises;
	unsigned depth;
	struct level level[DEPTH_MAX];
	mode_t umask;
};

static struct level *current(struct copy *copy)
{
	return &copy->level[copy->depth - 1];
}

static void close_level(struct copy *copy)
{
	(void)close(current(copy)->source);
	(void)close(current(copy)->dest);
	copy->depth--;
}

static void copy_end(struct copy *copy)
{
	while (copy->depth > 0)
		close_level(copy);
	(void)umask(copy->umask);
}

/* Gives `name` in `dir_fd` (or, where empty, `dir_fd` itself) the owner of `st`. 1: it has it; 0: it may not have it.
 * EINVAL is an id that this user namespace does not map; EPERM tells a user without privilege, and is an error for root. */
static int set_owner(struct copy *copy, int dir_fd, const char *name, const struct stat *st)
{
	if (fchownat(dir_fd, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) == 0)
		return 1;
	if (errno != EINVAL && !(errno == EPERM && geteuid() != 0))
		return -errno;
	copy->compromises++;
	return 0;
}

/* Owner, then mode (chown clears the set-id bits), then times (nothing writes after them). */
static int set_attributes(struct copy *copy, int fd, const struct stat *st)
{
	const struct timespec times[2] = { st->st_atim, st->st_mtim };
	int r = set_owner(copy, fd, "", st);

	if (r < 0)
		return r;
	/* A program that was set-user-id for one user must not become so for another. */
	if (fchmod(fd, st->st_mode & (r > 0 ? 07777 : 01777)) < 0)
		return -errno;
	return futimens(fd, times) < 0 ? -errno : 0;
}

/* The same for what cannot be opened; a node has its mode from its birth, a symlink has none. */
static int set_attributes_at(struct copy *copy, int dir_fd, const char *name, const struct stat *st)
{
	const struct timespec times[2] = { st->st_atim, st->st_mtim };
	int r = set_owner(copy, dir_fd, name, st);

	if (r < 0)
		return r;
	return utimensat(dir_fd, name, times, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static int write_all(int fd, const char *data, size_t length)
{
	while (length > 0) {
		ssize_t n = write(fd, data, length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		length -= (size_t)n;
	}
	return 0;
}

static int copy_range_by_reading(int in, int out, off_t length)
{
	char buffer[16384];

	while (length > 0) {
		ssize_t n = read(in, buffer, length < (off_t)sizeof(buffer) ? (size_t)length : sizeof(buffer));
		int r;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : 0;
		r = write_all(out, buffer, (size_t)n);
		if (r < 0)
			return r;
		length -= n;
	}
	return 0;
}

/* Copies `length` bytes, or up to the end of a file that shrank. sendfile(2) and not copy_file_range(2): the copy goes to
 * another file system, where that is EXDEV since Linux 5.19. */
static int copy_range(int in, int out, off_t length)
{
	while (length > 0) {
		ssize_t n = sendfile(out, in, NULL, length < CHUNK ? (size_t)length : CHUNK);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EINVAL || errno == ENOSYS))
			return copy_range_by_reading(in, out, length);
		if (n <= 0)
			return n < 0 ? -errno : 0;
		length -= n;
	}
	return 0;
}

/* Finds the first data at or behind `from`. 1: from `ret_data` to `ret_hole`; 0: there is none up to the end. */
static int find_data(int fd, off_t from, off_t size, off_t *ret_data, off_t *ret_hole)
{
	off_t data = lseek(fd, from, SEEK_DATA), hole;

	if (data < 0 && errno == EINVAL) { /* this file system tells nothing of holes */
		data = from;
		hole = size;
	} else
		hole = data < 0 ? -1 : lseek(fd, data, SEEK_HOLE);
	if (hole < 0)
		return errno == ENXIO ? 0 : -errno;
	*ret_data = data;
	*ret_hole = hole < size ? hole : size;
	return data < size;
}

/* Copies the data and leaves the holes: a sparse /var/log/lastlog may claim more bytes than the machine has memory. */
static int copy_data(int in, int out, off_t size)
{
	off_t data = 0, hole = 0;
	int r;

	while (hole < size) {
		r = find_data(in, hole, size, &data, &hole);
		if (r < 0)
			return r;
		if (r == 0)
			break;
		if (lseek(in, data, SEEK_SET) < 0 || lseek(out, data, SEEK_SET) < 0)
			return -errno;
		r = copy_range(in, out, hole - data);
		if (r < 0)
			return r;
	}
	return ftruncate(out, size) < 0 ? -errno : 0;
}

/* O_NONBLOCK: should a fifo stand there by now, its open must not wait for a writer. */
static int copy_file(struct copy *copy, const char *name)
{
	const struct level *level = current(copy);
	_cleanup_close_ int in = openat(level->source, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	_cleanup_close_ int out = -1;
	struct stat st;
	int r;

	if (in < 0)
		return errno == ELOOP ? -EAGAIN : -errno;
	if (fstat(in, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EAGAIN;
	out = openat(level->dest, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (out < 0)
		return -errno;
	r = copy_data(in, out, st.st_size);
	return r < 0 ? r : set_attributes(copy, out, &st);
}

static int copy_symlink(struct copy *copy, const char *name, const struct stat *st)
{
	const struct level *level = current(copy);
	char target[PATH_MAX];
	ssize_t length = readlinkat(level->source, name, target, sizeof(target));

	if (length < 0)
		return errno == EINVAL ? -EAGAIN : -errno;
	if (length == (ssize_t)sizeof(target))
		return -ENAMETOOLONG;
	target[length] = '\0';
	if (symlinkat(target, level->dest, name) < 0)
		return -errno;
	return set_attributes_at(copy, level->dest, name, st);
}

/* A fifo, socket or device. A user namespace may make no device, whoever is root in it: mknod(2), EPERM. */
static int copy_node(struct copy *copy, const char *name, const struct stat *st)
{
	const struct level *level = current(copy);

	if (mknodat(level->dest, name, st->st_mode, st->st_rdev) == 0)
		return set_attributes_at(copy, level->dest, name, st);
	if (errno != EPERM || !(S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode)))
		return -errno;
	copy->compromises++;
	return 0;
}

static int push_level(struct copy *copy, int source_fd, int dest_fd, const char *name)
{
	_cleanup_close_ int source = -1, dest = -1;

	if (copy->depth == DEPTH_MAX)
		return -ENAMETOOLONG;
	source = openat(source_fd, name, DIRECTORY_FLAGS);
	if (source < 0)
		return errno == ELOOP || errno == ENOTDIR ? -EAGAIN : -errno;
	dest = openat(dest_fd, name, DIRECTORY_FLAGS);
	if (dest < 0)
		return -errno;
	copy->level[copy->depth++] = (struct level){ .source = TAKE_FD(source), .dest = TAKE_FD(dest) };
	return DESCENDED;
}

static int enter_directory(struct copy *copy, const char *name)
{
	const struct level *level = current(copy);

	if (mkdirat(level->dest, name, 0700) < 0)
		return -errno;
	return push_level(copy, level->source, level->dest, name);
}

/* A directory gets its attributes last: its content needs the right to write, and changes its times. */
static int leave_directory(struct copy *copy)
{
	const struct level *level = current(copy);
	struct stat st;
	int r = 0;

	if (copy->depth > 1)
		r = fstat(level->source, &st) < 0 ? -errno : set_attributes(copy, level->dest, &st);
	close_level(copy);
	return r;
}

static int copy_entry(struct copy *copy, const char *name)
{
	struct stat st;

	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return 0;
	if (fstatat(current(copy)->source, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno; /* gone since the directory was read */
	switch (st.st_mode & S_IFMT) {
	case S_IFDIR:
		return enter_directory(copy, name);
	case S_IFREG:
		return copy_file(copy, name);
	case S_IFLNK:
		return copy_symlink(copy, name, &st);
	default:
		return copy_node(copy, name, &st);
	}
}

/* Copies on in the directory in hand. DESCENDED: a child came in between; 0: it is done. */
static int copy_entries(struct copy *copy)
{
	_Alignas(struct kernel_dirent64) char buffer[4096];
	struct level *level = current(copy);

	if (lseek(level->source, level->resume, SEEK_SET) < 0)
		return -errno;
	for (;;) {
		long length = syscall(SYS_getdents64, level->source, buffer, sizeof(buffer));

		if (length <= 0)
			return length < 0 ? -errno : 0;
		for (long at = 0; at < length;) {
			const struct kernel_dirent64 *entry = (const void *)(buffer + at);
			int r;

			at += entry->d_reclen;
			level->resume = (off_t)entry->d_off;
			r = copy_entry(copy, entry->d_name);
			if (r != 0)
				return r;
		}
	}
}

int copy_up(int source_dir_fd, int dest_dir_fd)
{
	_cleanup_(copy_end) struct copy copy = { .umask = umask(0) }; /* nodes get their mode at birth */
	int r = push_level(&copy, source_dir_fd, dest_dir_fd, ".");

	if (r < 0)
		return r;
	while (copy.depth > 0) {
		r = copy_entries(&copy);
		if (r == 0)
			r = leave_directory(&copy);
		if (r < 0)
			return r;
	}
	return copy.compromises;
}
