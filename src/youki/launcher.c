/* youki: find this installation's Python and its youki/__main__.py, and become them; but for a start that needs none (start.c).
 *
 * A console script would start Python with `site` and with the caller's PYTHON* variables. The first costs milliseconds, the
 * second lets the environment choose what a runtime that runs as root imports. This program starts it isolated (-I), without
 * site (-S), with UTF-8 file names (config.json is UTF-8 whatever the caller's locale is), from absolute paths only: the
 * caller's PATH is never searched.
 *
 * With BIN the directory of this program (/proc/self/exe, so links are resolved) and PREFIX its parent:
 *   code         PREFIX/{lib,lib64}/python3*{/site-packages,/dist-packages}/youki/__main__.py, the newest version that has an
 *                interpreter; then PREFIX/youki/__main__.py (`pip install --target`)
 *   interpreter  BIN/python3 (virtual environment, prefix), then /usr/local/bin and /usr/bin, under the name of the code's
 *                own directory (python3.11, python3), because that Python is the one it was installed for
 */
#include "start.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define TEXT(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define MAIN "/youki/__main__.py"

enum {
	FAILURE = 1,     /* what runc exits with when it could not do its work */
	TEXT_PARTS = 12, /* the longest message has fewer parts */
};

/* No -B: without a cache of compiled modules every run would compile, and whoever can write into a __pycache__ can write
 * the modules beside it. */
static const char *const OPTIONS[] = { "-I", "-S", "-X", "utf8" };

static const char *const LIBRARIES[] = { "/lib", "/lib64" };
static const char *const PACKAGES[] = { "/site-packages", "/dist-packages" };
static const char *const SYSTEM_BINARIES[] = { "/usr/local/bin/", "/usr/bin/" };

struct installation {
	char bin[PATH_MAX];    /* the directory of this program */
	char prefix[PATH_MAX]; /* its parent */
	char code[PATH_MAX];   /* youki/__main__.py */
	char python[PATH_MAX]; /* the interpreter */
	long minor;            /* the 3.x of both; -1 until something is found */
};

/* Print the parts in one write, so that lines of other processes cannot come between, and end. */
_Noreturn static void die(const char *const *parts)
{
	struct iovec line[TEXT_PARTS + 2] = { { .iov_base = "youki: ", .iov_len = strlen("youki: ") } };
	int count = 1;

	for (; *parts && count <= TEXT_PARTS; parts++)
		line[count++] = (struct iovec){ .iov_base = (char *)(uintptr_t)*parts, .iov_len = strlen(*parts) };
	line[count++] = (struct iovec){ .iov_base = "\n", .iov_len = 1 };
	if (writev(STDERR_FILENO, line, count) < 0)
		_exit(FAILURE); /* nobody is left to tell */
	_exit(FAILURE);
}

/* Join the parts into a path, or end: a path that was cut would be another path. */
static void path_set(char ret_path[static PATH_MAX], const char *const *parts)
{
	size_t used = 0;

	for (; *parts; parts++) {
		size_t length = strlen(*parts);

		if (length >= PATH_MAX - used)
			die(TEXT("a path of this installation is too long: ", *parts));
		memcpy(ret_path + used, *parts, length);
		used += length;
	}
	ret_path[used] = '\0';
}

/* A descriptor that the caller closed would become the first file that we open, and our messages would be written into it.
 * /dev/null must be the device (character 1:3); in a prepared /dev it may be anything. */
static void open_standard_streams(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		struct stat null;

		if (fcntl(fd, F_GETFD) >= 0)
			continue;
		if (open("/dev/null", O_RDWR | O_NOFOLLOW | O_NOCTTY) != fd || fstat(fd, &null) < 0)
			_exit(FAILURE);
		if (!S_ISCHR(null.st_mode) || null.st_rdev != makedev(1, 3))
			_exit(FAILURE);
	}
}

static void find_self(struct installation *self)
{
	ssize_t length = readlink("/proc/self/exe", self->bin, sizeof(self->bin) - 1);

	if (length < 0)
		die(TEXT("cannot read /proc/self/exe: ", strerror(errno),
			 " - mount proc on /proc, or run python3 -m youki"));
	self->bin[length] = '\0';
	*strrchr(self->bin, '/') = '\0'; /* the kernel's paths begin with a slash */
	path_set(self->prefix, TEXT(self->bin));
	if (self->prefix[0])
		*strrchr(self->prefix, '/') = '\0';
}

/* The minor version in the name of a library directory: 11 for python3.11, 0 for Debian's python3, -1 for any other
 * (such as python3.13t of the free-threaded build). */
static long minor_version(const char *name)
{
	char *end;
	long minor;

	if (strcmp(name, "python3") == 0)
		return 0;
	if (strncmp(name, "python3.", strlen("python3.")) != 0)
		return -1;
	minor = strtol(name + strlen("python3."), &end, 10);
	return *end ? -1 : minor;
}

/* Write the path of the interpreter for code below `library` (python3.11, python3), and say whether it is there. */
static bool find_interpreter(char ret_python[static PATH_MAX], const struct installation *self, const char *library)
{
	path_set(ret_python, TEXT(self->bin, "/python3"));
	if (access(ret_python, X_OK) == 0)
		return true;
	for (size_t i = 0; i < COUNT(SYSTEM_BINARIES); i++) {
		path_set(ret_python, TEXT(SYSTEM_BINARIES[i], library));
		if (access(ret_python, X_OK) == 0)
			return true;
	}
	return false;
}

/* Take the code in `directory`/`library`, if it is there, newer than what was found before, and can be run. */
static void consider(struct installation *self, const char *directory, const char *library)
{
	long minor = minor_version(library);
	char code[PATH_MAX], python[PATH_MAX];

	if (minor <= self->minor)
		return;
	for (size_t i = 0; i < COUNT(PACKAGES); i++) {
		path_set(code, TEXT(directory, "/", library, PACKAGES[i], MAIN));
		if (access(code, R_OK) < 0 || !find_interpreter(python, self, library))
			continue;
		path_set(self->code, TEXT(code));
		path_set(self->python, TEXT(python));
		self->minor = minor;
		return;
	}
}

static void search_library(struct installation *self, const char *library)
{
	char directory[PATH_MAX];
	const struct dirent *entry;
	DIR *entries;

	path_set(directory, TEXT(self->prefix, library));
	entries = opendir(directory);
	if (!entries)
		return;
	while ((entry = readdir(entries)))
		consider(self, directory, entry->d_name);
	(void)closedir(entries);
}

static bool search_target(struct installation *self)
{
	path_set(self->code, TEXT(self->prefix, MAIN));
	return access(self->code, R_OK) == 0 && find_interpreter(self->python, self, "python3");
}

static bool search(struct installation *self)
{
	self->minor = -1;
	for (size_t i = 0; i < COUNT(LIBRARIES) && self->minor < 0; i++)
		search_library(self, LIBRARIES[i]);
	return self->minor >= 0 || search_target(self);
}

/* Let Python have the descriptors of a start that it is to finish; commands/start.py looks for the option. */
static void hand_over(const struct begun *begun, char *ret_option, size_t size)
{
	(void)fcntl(begun->connection, F_SETFD, 0);
	if (begun->last_words >= 0)
		(void)fcntl(begun->last_words, F_SETFD, 0);
	(void)snprintf(ret_option, size, "-Xyouki_start=%d,%d", begun->connection, begun->last_words);
}

/* Returns only on failure, with errno. */
static void become(const struct installation *self, int argc, char **argv, const struct begun *begun)
{
	static char option[sizeof("-Xyouki_start=,") + 2 * sizeof("-2147483648")];
	size_t count = 0;
	const char **command = calloc((size_t)argc + COUNT(OPTIONS) + 4, sizeof(*command));

	if (!command)
		return;
	command[count++] = self->python;
	for (size_t i = 0; i < COUNT(OPTIONS); i++)
		command[count++] = OPTIONS[i];
	if (begun->connection >= 0) {
		hand_over(begun, option, sizeof(option));
		command[count++] = option;
	}
	command[count++] = self->code;
	for (int i = 1; i < argc; i++)
		command[count++] = argv[i];
	execv(self->python, (char *const *)(uintptr_t)command);
}

int main(int argc, char **argv)
{
	static struct installation self;
	struct begun begun;

	open_standard_streams();
	if (start(argc, argv, &begun) == 0)
		return 0;
	find_self(&self);
	if (!search(&self))
		die(TEXT("no Python installation for this command; looked for ", self.prefix,
			 "/{lib,lib64}/python3*/{site-packages,dist-packages}" MAIN " and ", self.prefix,
			 MAIN ", and for an interpreter in ", self.bin,
			 ", /usr/local/bin and /usr/bin - reinstall libcontainer, or run python3 -m youki"));
	become(&self, argc, argv, &begun);
	die(TEXT("cannot execute ", self.python, ": ", strerror(errno)));
}
