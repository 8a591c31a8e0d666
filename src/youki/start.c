/* The start of a container about which there is nothing to know: no poststart hook, no service manager to tell.  create says
 * so by a file `start.plain` beside start.sock (supervise.py).  Then `start` is one word to init and its answer (release.py),
 * and the start of a Python is four fifths of what it costs.
 *
 * This part knows no error: whatever is unusual, from an option that it does not know to a payload that cannot be executed, it
 * leaves to Python, which finds the same facts and has the words for them.  Once init has been told to go on it cannot be told
 * again, so the connection is handed over. */
#include "start.h"
#include "wire.h"
#include "operations.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define DEFAULT_ROOT "/run/youki"
#define LONGEST_ID 240 /* state.py, with the rule for its characters */
#define ID_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-."

enum {
	PATIENCE_MS = 1000, /* release.py looks then whether the container is paused */
};

struct command {
	const char *root;
	const char *log;
	const char *id;
};

/* Take the value of `--name VALUE` or `--name=VALUE` into *ret_value, once.  False: it is another option, or given twice. */
static bool take_option(char **words, int *at, const char *name, const char **ret_value)
{
	size_t length = strlen(name);

	if (*ret_value || strncmp(words[*at], name, length) != 0)
		return false;
	if (words[*at][length] == '=')
		*ret_value = words[*at] + length + 1;
	else if (words[*at][length] == 0 && words[*at + 1])
		*ret_value = words[++*at];
	return *ret_value != NULL;
}

/* True for `[--root DIR] [--log FILE] [--log-format FORMAT] [--systemd-cgroup] start ID`, which is how engines call it. */
static bool parse(char **words, struct command *ret_command)
{
	const char *format = NULL;
	int at = 1;

	for (; words[at] && strcmp(words[at], "start") != 0; at++)
		if (strcmp(words[at], "--systemd-cgroup") != 0 && /* nothing of a start depends on it */
		    !take_option(words, &at, "--root", &ret_command->root) &&
		    !take_option(words, &at, "--log", &ret_command->log) &&
		    !take_option(words, &at, "--log-format", &format))
			return false;
	if (!words[at] || !words[at + 1] || words[at + 2])
		return false;
	ret_command->id = words[at + 1];
	return !format || strcmp(format, "text") == 0 || strcmp(format, "json") == 0;
}

/* The line that the kernel writes for the initial user namespace (user_namespaces(7)). */
static bool in_user_namespace(void)
{
	static const char initial[] = "         0          0 4294967295\n";
	char map[sizeof(initial)];
	int fd = open("/proc/self/uid_map", O_RDONLY | O_CLOEXEC);
	ssize_t size = read(fd, map, sizeof(map));

	if (fd >= 0)
		close(fd);
	return size != sizeof(initial) - 1 || memcmp(map, initial, sizeof(initial) - 1) != 0;
}

/* The first choices of state.py: NULL where it would look further. */
static const char *default_root(void)
{
	static char root[PATH_MAX];
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	struct stat found;

	if (geteuid() == 0 && (!runtime || !runtime[0] || !in_user_namespace()))
		return DEFAULT_ROOT;
	if (!runtime || runtime[0] != '/' || lstat(runtime, &found) < 0)
		return NULL;
	if ((found.st_mode & (S_IFMT | 077)) != S_IFDIR || found.st_uid != geteuid())
		return NULL;
	return snprintf(root, sizeof(root), "%s/youki", runtime) < (int)sizeof(root) ? root : NULL;
}

/* True where Python would build the same paths from the words. */
static bool is_plain(struct command *command)
{
	const char *id = command->id;

	if (!command->root)
		command->root = default_root();
	if (!command->root || command->root[0] != '/' || strstr(command->root, ".."))
		return false;
	if (command->log && (command->log[0] == '-' || strchr(command->log, ':')))
		return false;
	return id[0] && id[0] != '-' && id[0] != '.' && id[strspn(id, ID_CHARACTERS)] == 0 && strlen(id) <= LONGEST_ID;
}

/* Open the directory of the container, locked; -1 where that is not possible at once (state.py). */
static int open_directory(const struct command *command)
{
	const int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW;
	int root = open(command->root, flags), directory;
	struct stat found;

	if (root < 0)
		return -1;
	if (fstat(root, &found) < 0 || (found.st_uid != geteuid() && found.st_uid != 0) || found.st_mode & 022) {
		close(root); /* others may change it */
		return -1;
	}
	directory = openat(root, command->id, flags);
	close(root);
	if (directory < 0)
		return -1;
	if (flock(directory, LOCK_EX | LOCK_NB) == 0 && faccessat(directory, "start.plain", F_OK, 0) == 0)
		return directory;
	close(directory);
	return -1;
}

/* The caller may look whether the file is there, as it is after any other command. */
static bool open_log(const char *path)
{
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY, 0644);

	if (fd < 0)
		return false;
	close(fd);
	return true;
}

static int connect_to_init(int directory)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int connection = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (connection < 0)
		return -1;
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/start.sock", directory);
	if (connect(connection, (const struct sockaddr *)&address, sizeof(address)) == 0)
		return connection;
	close(connection);
	return -1;
}

static bool tell_to_go_on(int connection)
{
	const uint32_t reply = REPLY_START;

	return send(connection, &reply, sizeof(reply), MSG_NOSIGNAL) == sizeof(reply);
}

static bool is_started(const struct report *report, ssize_t size)
{
	return size >= (ssize_t)offsetof(struct report, detail) && report->build_id == BUILD_ID &&
	       report->type == REPORT_STARTED;
}

/* Take the report that the payload is about to be executed, with the descriptor that may come along.  Any other stays. */
static int take_started(int connection, int *ret_last_words)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { { 0 } };
	struct report report;
	struct iovec data = { &report, sizeof(report) };
	struct msghdr message = {
		.msg_iov = &data, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)
	};
	const struct cmsghdr *header;
	struct pollfd answer = { .fd = connection, .events = POLLIN };

	if (poll(&answer, 1, PATIENCE_MS) != 1)
		return -1;
	if (!is_started(&report, recv(connection, &report, sizeof(report), MSG_PEEK)))
		return -1;
	if (recvmsg(connection, &message, MSG_CMSG_CLOEXEC) < 0)
		return -1;
	header = CMSG_FIRSTHDR(&message);
	if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS)
		memcpy(ret_last_words, CMSG_DATA(header), sizeof(int));
	return 0;
}

/* True when init has closed its end by executing the payload, and has not said why it could not (init/seccomp.c). */
static bool is_executed(const struct begun *begun)
{
	struct report last = { 0 };
	ssize_t size;

	do {
		size = recv(begun->connection, &last, sizeof(last), MSG_PEEK);
	} while (size < 0 && errno == EINTR);
	if (size > 0 || (size < 0 && errno != ECONNRESET))
		return false;
	return begun->last_words < 0 ||
	       (pread(begun->last_words, &last, sizeof(last), 0) == sizeof(last) && last.type == 0);
}

int start(int argc, char **argv, struct begun *ret_begun)
{
	struct command command = { 0 };
	int directory;

	*ret_begun = (struct begun){ -1, -1 };
	if (argc < 3 || !parse(argv, &command) || !is_plain(&command))
		return -1;
	directory = open_directory(&command);
	if (directory < 0 || (command.log && !open_log(command.log)))
		return -1;
	ret_begun->connection = connect_to_init(directory);
	if (ret_begun->connection < 0)
		return -1;
	if (!tell_to_go_on(ret_begun->connection)) {
		close(ret_begun->connection);
		ret_begun->connection = -1;
		return -1;
	}
	if (take_started(ret_begun->connection, &ret_begun->last_words) < 0 || !is_executed(ret_begun))
		return -1;
	(void)unlinkat(directory, "start.sock", 0);
	return 0;
}
