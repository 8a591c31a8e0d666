/* The user and its capabilities: credentials(7), capabilities(7), config.md "user", config-linux.md "capabilities". */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kernel.h"
#include "operations.h"
#include "path.h"

#define MAX_GROUPS 65536 /* NGROUPS_MAX */
#define CAPABILITY_VERSION_3 0x20080522
#define LAST_CAPABILITY 63

int op_drop_bounding_set(struct run *run, const struct drop_bounding_set *op)
{
	int error, present;

	for (int capability = 0; capability <= LAST_CAPABILITY; capability++) {
		if ((uint64_t)op->keep & UINT64_C(1) << capability)
			continue;
		if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0)
			continue;
		error = errno;
		present = prctl(PR_CAPBSET_READ, capability, 0, 0, 0);
		if (present > 0)
			return fail(run, error, "prctl", "PR_CAPBSET_DROP");
		if (present < 0)
			break; /* no capability of the kernel has this number or a higher one; 0: it is gone already */
	}
	return 0;
}

/* (uid_t)-1 means "leave it" to setresuid(2), and root would stay root; the ids are verified afterwards. */
static int become(struct run *run, uid_t uid, gid_t gid)
{
	uid_t real, effective, saved;

	if (uid == (uid_t)-1 || gid == (gid_t)-1)
		return fail(run, EINVAL, "setresuid", NULL);
	if (setresgid(gid, gid, gid) < 0)
		return fail(run, errno, "setresgid", NULL);
	if (setresuid(uid, uid, uid) < 0)
		return fail(run, errno, "setresuid", NULL);
	if (getresuid(&real, &effective, &saved) < 0 || real != uid || effective != uid || saved != uid)
		return fail(run, EPERM, "getresuid", NULL);
	return 0;
}

int op_set_credentials(struct run *run, const struct set_credentials *op)
{
	size_t count = op->groups.length / sizeof(gid_t);
	const gid_t *groups = (const gid_t *)(const void *)text(run, op->groups);

	if (count > MAX_GROUPS)
		return fail(run, EINVAL, "setgroups", NULL);
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		return fail(run, errno, "prctl", "PR_SET_KEEPCAPS");
	if (op->set_groups != GROUPS_KEEP && setgroups(count, groups) < 0 &&
	    !(op->set_groups == GROUPS_IF_PERMITTED && errno == EPERM))
		return fail(run, errno, "setgroups", NULL);
	if (become(run, (uid_t)op->uid, (gid_t)op->gid) < 0)
		return -1;
	if (prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0)
		return fail(run, errno, "prctl", "PR_SET_KEEPCAPS");
	return 0;
}

static int raise_ambient(struct run *run, uint64_t ambient)
{
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 && ambient != 0)
		return fail(run, errno, "prctl", "PR_CAP_AMBIENT_CLEAR_ALL");
	for (int capability = 0; capability <= LAST_CAPABILITY; capability++)
		if (ambient & UINT64_C(1) << capability &&
		    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) < 0)
			return fail(run, errno, "prctl", "PR_CAP_AMBIENT_RAISE");
	return 0;
}

int op_set_capabilities(struct run *run, const struct set_capabilities *op)
{
	struct {
		uint32_t version;
		int pid;
	} header = { CAPABILITY_VERSION_3, 0 };
	struct {
		uint32_t effective, permitted, inheritable;
	} data[2];

	for (int half = 0; half < 2; half++) {
		data[half].effective = (uint32_t)((uint64_t)op->effective >> (32 * half));
		data[half].permitted = (uint32_t)((uint64_t)op->permitted >> (32 * half));
		data[half].inheritable = (uint32_t)((uint64_t)op->inheritable >> (32 * half));
	}
	if (syscall(SYS_capset, &header, data) < 0)
		return fail(run, errno, "capset", NULL);
	return raise_ambient(run, (uint64_t)op->ambient);
}

/* A working directory outside of the root shows as "(unreachable)…": a leaked descriptor led there (CVE-2024-21626). */
static int verify_cwd(struct run *run, const char *path)
{
	char cwd[PATH_MAX + 32];
	long length = syscall(SYS_getcwd, cwd, sizeof(cwd));

	if (length < 0)
		return fail(run, errno, "getcwd", path);
	return cwd[0] == '/' ? 0 : fail(run, EXDEV, "getcwd", path);
}

int op_change_directory(struct run *run, const struct change_directory *op)
{
	const char *path = text(run, op->path);
	_cleanup_close_ int made = -1;

	if (op->make) {
		made = make_directory_in_root(run->rootfs_fd, path, 0755);
		if (made < 0 && made != -EROFS && made != -EACCES && made != -EPERM)
			return fail(run, -made, "mkdir", path);
	}
	if (chdir(path) < 0) {
		/* A directory that only the payload's user may enter (NFS with root squash) is tried again as that user. */
		if (!op->final && (errno == EACCES || errno == EPERM || errno == ENOENT))
			return 0;
		return fail(run, errno, "chdir", path);
	}
	return verify_cwd(run, path);
}
