/* floor: the time that the kernel itself takes for one container of the default configuration.
 *
 * A runtime cannot be faster than the system calls that it has to make. This program makes those of the plan that
 * `youki explain` prints for the benchmark's bundle, and nothing else: no configuration is read, nothing is checked or
 * written down, no process stands between this one and the payload, a failure ends it with the name of the call.
 *
 * usage: floor ROUNDS ROOTFS NAME {TYPE:OPTIONS:DIRECTORY}...
 *
 * TYPE is cgroup or cgroup2, OPTIONS the hierarchy's mount options, DIRECTORY the cgroup to make. With ROUNDS 0 one
 * container is made for each line of standard input. For each one the nanoseconds from the first call to the last are
 * printed on a line.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define MAX_HIERARCHIES 16
#define RECURSIVE 0x8000 /* AT_RECURSIVE, whose header clashes with <fcntl.h> */
#define SHARED_WITH_NOBODY (MS_REC | MS_SLAVE)
#define NAMESPACES (CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET)

struct hierarchy {
	const char *fstype, *options, *directory;
};

struct mount_row {
	const char *fstype, *source, *target;
	bool make; /* the mount point is missing in the file system below */
	unsigned attributes;
	const char *parameters[5]; /* key=value or flag */
};

enum { RO = MOUNT_ATTR_RDONLY, NOSUID = MOUNT_ATTR_NOSUID, NODEV = MOUNT_ATTR_NODEV, NOEXEC = MOUNT_ATTR_NOEXEC };

static const struct mount_row MOUNTS[] = {
	{ "proc", "proc", "proc", false, 0, { NULL } },
	{ "tmpfs", "tmpfs", "dev", false, NOSUID | MOUNT_ATTR_STRICTATIME, { "mode=755", "size=65536k" } },
	{ "devpts",
	  "devpts",
	  "dev/pts",
	  true,
	  NOSUID | NOEXEC,
	  { "newinstance", "ptmxmode=0666", "mode=0620", "gid=5" } },
	{ "tmpfs", "shm", "dev/shm", true, NOSUID | NODEV | NOEXEC, { "mode=1777", "size=65536k" } },
	{ "mqueue", "mqueue", "dev/mqueue", true, NOSUID | NODEV | NOEXEC, { NULL } },
	{ "sysfs", "sysfs", "sys", false, RO | NOSUID | NODEV | NOEXEC, { NULL } },
	{ "tmpfs", "tmpfs", "sys/fs/cgroup", false, NOSUID | NODEV | NOEXEC, { "mode=755" } },
};

static const struct {
	const char *path;
	unsigned major, minor;
} DEVICES[] = { { "dev/null", 1, 3 },   { "dev/zero", 1, 5 },    { "dev/full", 1, 7 },
		{ "dev/random", 1, 8 }, { "dev/urandom", 1, 9 }, { "dev/tty", 5, 0 } };

static const char *const LINKS[][2] = {
	{ "/proc/self/fd", "dev/fd" },       { "/proc/self/fd/0", "dev/stdin" }, { "/proc/self/fd/1", "dev/stdout" },
	{ "/proc/self/fd/2", "dev/stderr" }, { "/proc/kcore", "dev/core" },      { "pts/ptmx", "dev/ptmx" },
};

static const char *const DEVICE_RULES[] = {
	"c *:* m",   "b *:* m",   "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm",
	"c 1:8 rwm", "c 1:9 rwm", "c 5:0 rwm", "c 5:2 rwm", "c 136:* rwm",
};

static const char *const READONLY[] = { "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger" };

static const char *const MASKED[] = {
	"/proc/acpi",       "/proc/asound",      "/proc/kcore",       "/proc/keys",    "/proc/latency_stats",
	"/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi",
};

static const int KEPT_CAPABILITIES[] = { CAP_AUDIT_WRITE, CAP_KILL, CAP_NET_BIND_SERVICE };

/* Ends the program unless `result`, of the call named `call`, is a success; returns it. */
static int must(long result, const char *call)
{
	if (result >= 0)
		return (int)result;
	fprintf(stderr, "floor: %s: %s\n", call, strerror(errno));
	_exit(1);
}

static void write_file(const char *directory, const char *file, const char *value)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", directory, file);
	fd = must(open(path, O_WRONLY | O_CLOEXEC), path);
	must(write(fd, value, strlen(value)), path);
	close(fd);
}

/* A new cpuset of v1 takes no process before it has what its parent has. */
static void fill_cpuset(const char *directory)
{
	static const char *const files[] = { "cpuset.cpus", "cpuset.mems" };
	char path[4096], value[4096];

	for (size_t i = 0; i < COUNT(files); i++) {
		ssize_t size;
		int fd;

		snprintf(path, sizeof(path), "%s/../%s", directory, files[i]);
		fd = must(open(path, O_RDONLY | O_CLOEXEC), path);
		size = must(read(fd, value, sizeof(value) - 1), path);
		value[size] = 0;
		close(fd);
		write_file(directory, files[i], value);
	}
}

static void make_cgroups(const struct hierarchy *hierarchies, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const char *directory = hierarchies[i].directory;

		must(mkdir(directory, 0755), directory);
		if (strcmp(hierarchies[i].options, "cpuset") == 0)
			fill_cpuset(directory);
		if (strcmp(hierarchies[i].options, "devices") != 0)
			continue;
		write_file(directory, "devices.deny", "a *:* rwm");
		for (size_t rule = 0; rule < COUNT(DEVICE_RULES); rule++)
			write_file(directory, "devices.allow", DEVICE_RULES[rule]);
	}
}

static bool is_unified(const struct hierarchy *hierarchy)
{
	return strcmp(hierarchy->fstype, "cgroup2") == 0;
}

/* A thread that moves itself waits for nobody. To move another process, or a whole one, the kernel first keeps all others
 * from forking, and unless somebody did so a moment ago it waits for a grace period of RCU: 5 to 20 ms. */
static void join_cgroups(const struct hierarchy *hierarchies, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!is_unified(&hierarchies[i]))
			write_file(hierarchies[i].directory, "tasks", "0");
}

/* clone3(2); the unified hierarchy, where no thread moves alone, is entered by birth. */
static int clone_first_process(const struct hierarchy *hierarchies, size_t count)
{
	struct clone_args arguments = { .flags = NAMESPACES, .exit_signal = SIGCHLD };
	int cgroup = -1, pid;

	for (size_t i = 0; i < count; i++)
		if (is_unified(&hierarchies[i]))
			cgroup = must(open(hierarchies[i].directory, O_PATH | O_DIRECTORY | O_CLOEXEC), "open");
	if (cgroup >= 0) {
		arguments.flags |= CLONE_INTO_CGROUP;
		arguments.cgroup = (uint64_t)cgroup;
	}
	pid = must(syscall(SYS_clone3, &arguments, sizeof(arguments)), "clone3");
	if (pid != 0 && cgroup >= 0)
		close(cgroup);
	return pid;
}

static void remove_cgroups(const struct hierarchy *hierarchies, size_t count)
{
	for (size_t i = 0; i < count; i++)
		must(rmdir(hierarchies[i].directory), hierarchies[i].directory);
}

static void bring_loopback_up(void)
{
	struct ifreq request = { .ifr_name = "lo" };
	int fd = must(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket");

	must(ioctl(fd, SIOCGIFFLAGS, &request), "SIOCGIFFLAGS");
	request.ifr_flags |= IFF_UP;
	must(ioctl(fd, SIOCSIFFLAGS, &request), "SIOCSIFFLAGS");
	close(fd);
}

static void set_parameter(int fs_fd, const char *parameter)
{
	char key[64];
	const char *value = strchr(parameter, '=');

	if (value == NULL) {
		must(syscall(SYS_fsconfig, fs_fd, FSCONFIG_SET_FLAG, parameter, NULL, 0), parameter);
		return;
	}
	snprintf(key, sizeof(key), "%.*s", (int)(value - parameter), parameter);
	must(syscall(SYS_fsconfig, fs_fd, FSCONFIG_SET_STRING, key, value + 1, 0), parameter);
}

/* What is below the rootfs is opened as a runtime has to: by a call that cannot lead out of it. */
static int open_below(int root, const char *path)
{
	struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };

	return (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
}

static void add_mount(int root, const struct mount_row *row)
{
	int fs_fd = must(syscall(SYS_fsopen, row->fstype, FSOPEN_CLOEXEC), row->fstype), mount_fd, target;

	must(syscall(SYS_fsconfig, fs_fd, FSCONFIG_SET_STRING, "source", row->source, 0), row->source);
	for (size_t i = 0; row->parameters[i] != NULL; i++)
		set_parameter(fs_fd, row->parameters[i]);
	must(syscall(SYS_fsconfig, fs_fd, FSCONFIG_CMD_CREATE, NULL, NULL, 0), row->fstype);
	mount_fd = must(syscall(SYS_fsmount, fs_fd, FSMOUNT_CLOEXEC, row->attributes), row->fstype);
	if (row->make)
		must(mkdirat(root, row->target, 0755), row->target);
	target = must(open_below(root, row->target), row->target);
	must(syscall(SYS_move_mount, mount_fd, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH),
	     row->target);
	close(target);
	close(mount_fd);
	close(fs_fd);
}

static void add_cgroup_mounts(int root, const struct hierarchy *hierarchies, size_t count)
{
	struct mount_attr readonly = { .attr_set = MOUNT_ATTR_RDONLY };
	int target;

	for (size_t i = 0; i < count; i++) {
		const struct hierarchy *hierarchy = &hierarchies[i];
		struct mount_row row = { .fstype = hierarchy->fstype,
					 .source = "cgroup",
					 .make = true,
					 .attributes = RO | NOSUID | NODEV | NOEXEC,
					 .parameters = { *hierarchy->options ? hierarchy->options : NULL } };
		char path[256];

		snprintf(path, sizeof(path), "sys/fs/cgroup/%zu", i);
		row.target = path;
		add_mount(root, &row);
	}
	target = must(open_below(root, "sys/fs/cgroup"), "sys/fs/cgroup");
	must(syscall(SYS_mount_setattr, target, "", AT_EMPTY_PATH, &readonly, sizeof(readonly)), "mount_setattr");
	close(target);
}

static void make_devices(int root)
{
	for (size_t i = 0; i < COUNT(DEVICES); i++)
		must(mknodat(root, DEVICES[i].path, S_IFCHR | 0666, makedev(DEVICES[i].major, DEVICES[i].minor)),
		     DEVICES[i].path);
	for (size_t i = 0; i < COUNT(LINKS); i++)
		must(symlinkat(LINKS[i][0], root, LINKS[i][1]), LINKS[i][1]);
}

static void change_root(int root)
{
	int old_root = must(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC), "/");

	must(fchdir(root), "chdir");
	must(syscall(SYS_pivot_root, ".", "."), "pivot_root");
	must(fchdir(old_root), "chdir");
	must(mount(NULL, ".", NULL, SHARED_WITH_NOBODY, NULL), "mount");
	must(umount2(".", MNT_DETACH), "umount2");
	must(chdir("/"), "chdir");
	close(old_root);
}

static void make_readonly(const char *path)
{
	struct mount_attr readonly = { .attr_set = MOUNT_ATTR_RDONLY };
	int target = open(path, O_PATH | O_CLOEXEC), tree;

	if (target < 0 && errno == ENOENT)
		return;
	must(target, path);
	tree = must(syscall(SYS_open_tree, target, "", OPEN_TREE_CLONE | RECURSIVE | AT_EMPTY_PATH | OPEN_TREE_CLOEXEC),
		    path);
	must(syscall(SYS_move_mount, tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH), path);
	must(syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | RECURSIVE, &readonly, sizeof(readonly)), path);
	close(tree);
	close(target);
}

/* One empty file system for all masked directories. */
static int make_empty_directory(void)
{
	int fs_fd = must(syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC), "tmpfs"), mount_fd;

	set_parameter(fs_fd, "nr_blocks=1");
	set_parameter(fs_fd, "nr_inodes=1");
	must(syscall(SYS_fsconfig, fs_fd, FSCONFIG_CMD_CREATE, NULL, NULL, 0), "tmpfs");
	mount_fd = must(syscall(SYS_fsmount, fs_fd, FSMOUNT_CLOEXEC, RO | NOSUID | NODEV | NOEXEC), "fsmount");
	close(fs_fd);
	return mount_fd;
}

static int clone_mount(int fd)
{
	return must(syscall(SYS_open_tree, fd, "", OPEN_TREE_CLONE | AT_EMPTY_PATH | OPEN_TREE_CLOEXEC), "open_tree");
}

static void mask_paths(void)
{
	int null = must(open("/dev/null", O_PATH | O_CLOEXEC), "/dev/null"), empty = -1;

	for (size_t i = 0; i < COUNT(MASKED); i++) {
		int target = open(MASKED[i], O_PATH | O_NOFOLLOW | O_CLOEXEC), tree;
		bool first = false;
		struct stat status;

		if (target < 0)
			continue;
		must(fstat(target, &status), MASKED[i]);
		if (S_ISDIR(status.st_mode)) {
			first = empty < 0;
			tree = first ? (empty = make_empty_directory()) : clone_mount(empty);
		} else {
			tree = clone_mount(null);
		}
		must(syscall(SYS_move_mount, tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH),
		     MASKED[i]);
		if (!first)
			close(tree);
		close(target);
	}
}

static void drop_privileges(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 };
	struct rlimit files = { 1024, 1024 };

	for (size_t i = 0; i < COUNT(KEPT_CAPABILITIES); i++)
		data[0].effective |= 1u << KEPT_CAPABILITIES[i];
	data[0].permitted = data[0].effective;
	must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS");
	must(setrlimit(RLIMIT_NOFILE, &files), "setrlimit");
	for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++)
		if (capability > 31 || !(data[0].permitted & 1u << capability))
			must(prctl(PR_CAPBSET_DROP, capability, 0, 0, 0), "PR_CAPBSET_DROP");
	(void)umask(022);
	must(setgroups(0, NULL), "setgroups");
	must(setresgid(0, 0, 0), "setresgid");
	must(setresuid(0, 0, 0), "setresuid");
	must(syscall(SYS_capset, &header, data), "capset");
}

/* What the first process does between its birth and its payload. */
_Noreturn static void become_payload(const char *rootfs, const char *name, const struct hierarchy *hierarchies,
				     size_t count)
{
	char *arguments[] = { (char *)(uintptr_t) "/bin/true", NULL }, *environment[] = { NULL };
	struct mount_attr readonly = { .attr_set = MOUNT_ATTR_RDONLY };
	int root;

	join_cgroups(hierarchies, count);
	must(unshare(CLONE_NEWCGROUP), "unshare");
	must(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "PR_SET_DUMPABLE");
	must(setsid(), "setsid");
	must(syscall(SYS_keyctl, 1 /* KEYCTL_JOIN_SESSION_KEYRING */, name, 0, 0, 0), "keyctl");
	bring_loopback_up();
	must(mount(NULL, "/", NULL, SHARED_WITH_NOBODY, NULL), "mount");
	must(mount(rootfs, rootfs, NULL, MS_BIND | MS_REC, NULL), rootfs);
	root = must(open(rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC), rootfs);
	(void)umask(0);
	for (size_t i = 0; i < COUNT(MOUNTS); i++)
		add_mount(root, &MOUNTS[i]);
	add_cgroup_mounts(root, hierarchies, count);
	make_devices(root);
	change_root(root);
	must(syscall(SYS_mount_setattr, AT_FDCWD, "/", 0, &readonly, sizeof(readonly)), "mount_setattr");
	must(sethostname(name, strlen(name)), "sethostname");
	for (size_t i = 0; i < COUNT(READONLY); i++)
		make_readonly(READONLY[i]);
	mask_paths();
	drop_privileges();
	execve(arguments[0], arguments, environment);
	must(-1, "execve");
	_exit(1);
}

/* One container's whole life; returns its nanoseconds. */
static int64_t make_container(const char *rootfs, const char *name, const struct hierarchy *hierarchies, size_t count)
{
	struct timespec begin, end;
	int status, pid;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	make_cgroups(hierarchies, count);
	pid = clone_first_process(hierarchies, count);
	if (pid == 0)
		become_payload(rootfs, name, hierarchies, count);
	must(waitpid(pid, &status, 0), "waitpid");
	remove_cgroups(hierarchies, count);
	clock_gettime(CLOCK_MONOTONIC, &end);
	if (status != 0)
		exit(1);
	return (end.tv_sec - begin.tv_sec) * INT64_C(1000000000) + end.tv_nsec - begin.tv_nsec;
}

static struct hierarchy parse_hierarchy(char *word)
{
	struct hierarchy found = { .fstype = word };
	char *options = strchr(word, ':'), *directory = options ? strchr(options + 1, ':') : NULL;

	if (directory == NULL) {
		fprintf(stderr, "floor: %s is not TYPE:OPTIONS:DIRECTORY\n", word);
		exit(2);
	}
	*options = *directory = 0;
	found.options = options + 1;
	found.directory = directory + 1;
	return found;
}

int main(int argc, char **argv)
{
	struct hierarchy hierarchies[MAX_HIERARCHIES];
	size_t count = argc > 4 ? (size_t)(argc - 4) : 0;
	char line[16];
	long rounds;

	if (count == 0 || count > MAX_HIERARCHIES) {
		fprintf(stderr, "usage: floor ROUNDS ROOTFS NAME {TYPE:OPTIONS:DIRECTORY}...\n");
		return 2;
	}
	for (size_t i = 0; i < count; i++)
		hierarchies[i] = parse_hierarchy(argv[4 + i]);
	rounds = atol(argv[1]);
	for (long i = 0; rounds ? i < rounds : fgets(line, sizeof(line), stdin) != NULL; i++) {
		printf("%lld\n", (long long)make_container(argv[2], argv[3], hierarchies, count));
		fflush(stdout);
	}
	return 0;
}
