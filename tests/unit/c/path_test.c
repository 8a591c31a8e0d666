/* Drives path.c and copyup.c from a test: path_test ROOT STEP…
 *
 * A step is a word and its operands; each prints one line, "ok …" or "error ERRNO". All steps share one process, so that
 * a property test with many paths starts one program; after every step the count of open descriptors must be as before.
 *
 *   fallback 0|1           resolve in user space from here on
 *   inject ERRNO           openat2 fails with ERRNO from here on (0: no longer)
 *   calls                  how often openat2 has been called
 *   nosendfile             sendfile fails with ENOSYS from here on
 *   umask MODE
 *   open FLAGS PATH        open_in_root; FLAGS: letters of p(ath) d(irectory) n(ofollow) r(ead) w(rite) c(reate)
 *   beneath FLAGS PATH     open_beneath_real
 *   mkdir MODE PATH        make_directory_in_root
 *   mkfile MODE PATH       make_file_in_root
 *   parent CREATE PATH     open_parent_in_root
 *   real CREATE PATH       open_directory_without_symlinks
 *   filesystem MAGIC PATH  verify_filesystem of open_in_root
 *   device MAJOR MINOR PATH
 *   copyup FROM TO         copy_up between two host directories
 *   race VERB PATH A B N   N times VERB (creating) while a child exchanges the host paths A and B; more often until one
 *                          succeeds, because the child may rest for long on the other state
 *
 * An opened object prints as its type letter and its path seen from ROOT; "OUTSIDE" and the path if it is not below. */
#include "kernel.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "copyup.h"
#include "path.h"

#define EXCHANGE 2 /* RENAME_EXCHANGE of renameat2(2) */

static const char *root_path;
static int root_fd, injected;
static long openat2_calls;
static bool sendfile_missing;

/* The linker puts these before the C library's (-Wl,--wrap). */
long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
ssize_t __real_sendfile(int out, int in, off_t *offset, size_t count);
ssize_t __wrap_sendfile(int out, int in, off_t *offset, size_t count);

long __wrap_syscall(long number, ...)
{
	long operand[6];
	va_list list;

	va_start(list, number);
	for (int i = 0; i < 6; i++)
		operand[i] = va_arg(list, long);
	va_end(list);
	if (number == SYS_openat2) {
		openat2_calls++;
		errno = injected;
		if (injected)
			return -1;
	}
	return __real_syscall(number, operand[0], operand[1], operand[2], operand[3], operand[4], operand[5]);
}

ssize_t __wrap_sendfile(int out, int in, off_t *offset, size_t count)
{
	errno = ENOSYS;
	return sendfile_missing ? -1 : __real_sendfile(out, in, offset, count);
}

static int open_flags(const char *letters)
{
	static const struct {
		char letter;
		int flag;
	} table[] = {
		{ 'p', O_PATH },   { 'd', O_DIRECTORY }, { 'n', O_NOFOLLOW },
		{ 'r', O_RDONLY }, { 'w', O_WRONLY },    { 'c', O_CREAT },
	};
	int flags = 0;

	for (; *letters; letters++)
		for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++)
			if (table[i].letter == *letters)
				flags |= table[i].flag;
	return flags;
}

static char type_letter(mode_t mode)
{
	static const char letters[] = "?pc?d?b?f?l?s???";

	return letters[(mode & S_IFMT) >> 12];
}

/* Where the object of `fd` is, seen from the root; false if it is not below the root. */
static bool locate(int fd, char path[PATH_MAX], const char **ret_inside)
{
	size_t length = strcmp(root_path, "/") == 0 ? 0 : strlen(root_path);
	char link[64];
	ssize_t n;

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, PATH_MAX - 1);
	if (n < 0)
		abort();
	path[n] = '\0';
	*ret_inside = path[length] ? path + length : "/";
	return strncmp(path, root_path, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

static void report(int fd, const char *name)
{
	char path[PATH_MAX];
	const char *inside;
	struct stat st;

	if (fd < 0) {
		(void)printf("error %d\n", -fd);
		return;
	}
	if (fstat(fd, &st) < 0 || !(fcntl(fd, F_GETFD) & FD_CLOEXEC))
		abort();
	if (locate(fd, path, &inside))
		(void)printf("ok %c %s%s%s\n", type_letter(st.st_mode), inside, name ? " " : "", name ? name : "");
	else
		(void)printf("ok OUTSIDE %s\n", path);
	(void)close(fd);
}

static int run_verb(const char *verb, const char *operand, const char *path, const char **ret_name)
{
	if (strcmp(verb, "open") == 0)
		return open_in_root(root_fd, path, open_flags(operand));
	if (strcmp(verb, "beneath") == 0)
		return open_beneath_real(root_fd, path, open_flags(operand));
	if (strcmp(verb, "mkdir") == 0)
		return make_directory_in_root(root_fd, path, (mode_t)strtoul(operand, NULL, 8));
	if (strcmp(verb, "mkfile") == 0)
		return make_file_in_root(root_fd, path, (mode_t)strtoul(operand, NULL, 8));
	if (strcmp(verb, "parent") == 0)
		return open_parent_in_root(root_fd, path, *operand == '1', ret_name);
	if (strcmp(verb, "real") == 0)
		return open_directory_without_symlinks(root_fd, path, *operand == '1');
	(void)fprintf(stderr, "unknown step %s\n", verb);
	exit(2);
}

static _Noreturn void exchange_for_ever(const char *a, const char *b, pid_t parent)
{
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (getppid() == parent)
		if (syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, EXCHANGE) < 0)
			_exit(1);
	_exit(0);
}

/* Prints how many lookups succeeded, failed, and gave what they must not: something outside of the root, or the link. */
static void race(char **operand)
{
	const char *operands = strcmp(operand[0], "open") == 0 ? "p" : strncmp(operand[0], "mk", 2) == 0 ? "755" : "1";
	long tries = strtol(operand[4], NULL, 10), found = 0, failed = 0, outside = 0;
	pid_t parent = getpid(), child = fork();
	int status;

	if (child < 0)
		abort();
	if (child == 0)
		exchange_for_ever(operand[2], operand[3], parent);
	for (long i = 0; i < tries || (found == 0 && i < 1000 * tries); i++) {
		char path[PATH_MAX];
		const char *inside, *name;
		struct stat st;
		int fd = run_verb(operand[0], operands, operand[1], &name);

		if (fd < 0) {
			failed++;
			continue;
		}
		if (fstat(fd, &st) == 0 && !S_ISLNK(st.st_mode) && locate(fd, path, &inside))
			found++;
		else
			outside++;
		(void)close(fd);
	}
	(void)kill(child, SIGKILL);
	if (waitpid(child, &status, 0) != child || !WIFSIGNALED(status))
		(void)printf("the exchange failed\n");
	(void)printf("ok %ld %ld %ld\n", found, failed, outside);
}

static void copy(const char *from, const char *to)
{
	_cleanup_close_ int source = open(from, O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int dest = open(to, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r = copy_up(source, dest);

	(void)printf(r < 0 ? "error %d\n" : "ok %d\n", r < 0 ? -r : r);
}

static int run_step(char **word)
{
	const char *name = NULL;
	int fd;

	if (strcmp(word[0], "fallback") == 0)
		return path_force_fallback(*word[1] == '1'), 2;
	if (strcmp(word[0], "inject") == 0)
		return injected = (int)strtol(word[1], NULL, 10), 2;
	if (strcmp(word[0], "calls") == 0)
		return printf("ok %ld\n", openat2_calls), 1;
	if (strcmp(word[0], "nosendfile") == 0)
		return sendfile_missing = true, 1;
	if (strcmp(word[0], "umask") == 0)
		return (void)umask((mode_t)strtoul(word[1], NULL, 8)), 2;
	if (strcmp(word[0], "copyup") == 0)
		return copy(word[1], word[2]), 3;
	if (strcmp(word[0], "race") == 0)
		return race(word + 1), 6;
	if (strcmp(word[0], "filesystem") == 0) {
		_cleanup_close_ int file = open_in_root(root_fd, word[2], O_PATH);

		return printf("ok %d\n", -verify_filesystem(file, strtoul(word[1], NULL, 16))), 3;
	}
	if (strcmp(word[0], "device") == 0) {
		_cleanup_close_ int file = open_in_root(root_fd, word[3], O_PATH);

		return printf("ok %d\n", -verify_device(file, (unsigned)strtoul(word[1], NULL, 10),
							(unsigned)strtoul(word[2], NULL, 10))),
		       4;
	}
	fd = run_verb(word[0], word[1], word[2], &name);
	report(fd, name);
	return 3;
}

static int count_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int count = 0;

	if (!dir)
		abort();
	while (readdir(dir))
		count++;
	(void)closedir(dir);
	return count;
}

int main(int argc, char **argv)
{
	int before;

	if (argc < 3)
		return 2;
	root_path = argv[1];
	root_fd = open(root_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root_fd < 0)
		return 2;
	before = count_descriptors();
	for (int i = 2; i < argc;) {
		mode_t mask = umask(022), after;

		(void)umask(mask);
		if (strcmp(argv[i], "umask") == 0)
			mask = (mode_t)strtoul(argv[i + 1], NULL, 8);
		i += run_step(argv + i);
		after = umask(mask);
		if (after != mask || count_descriptors() != before) {
			(void)printf("leak: %d descriptors, umask %o\n", count_descriptors() - before, after);
			return 3;
		}
	}
	(void)close(root_fd);
	return 0;
}
