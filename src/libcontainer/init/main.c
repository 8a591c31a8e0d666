/* init: carries out a plan that libcontainer made, then becomes the payload.
 *
 * It is started by the runtime from a sealed copy (CVE-2019-5736) with a SOCK_SEQPACKET socket as descriptor argv[1]; the plan and its
 * descriptors arrive over it.  It decides nothing: the order of the operations is written in plan/compile.py.  Whoever else starts it,
 * for example through /proc/PID/exe from inside a container, gets exit status 1 and nothing done.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "kernel.h"
#include "operations.h"
#include "path.h"
#include "payload.h"

static const char refusal[] = "this program is a part of libcontainer and is started by it only\n";

static bool is_channel(int fd)
{
	int type = 0, domain = 0;
	socklen_t size = sizeof(int);

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type != SOCK_SEQPACKET)
		return false;
	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX;
}

/* Take the descriptors of a message; returns how many, -1 when there are too many. */
static int take_descriptors(struct msghdr *message, int *ret_fds, size_t max)
{
	struct cmsghdr *header = CMSG_FIRSTHDR(message);
	size_t count;

	if (header == NULL)
		return 0;
	if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
		return -1;
	count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	if (count == 0 || count > max)
		return -1;
	memcpy(ret_fds, CMSG_DATA(header), count * sizeof(int));
	return (int)count;
}

/* Map the plan, which must be sealed: what was checked must not change afterwards. */
static int map_plan(int fd, struct plan *ret_plan)
{
	const int wanted = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
	struct stat status;
	void *data;

	if ((fcntl(fd, F_GET_SEALS) & wanted) != wanted || fstat(fd, &status) < 0)
		return -EBADMSG;
	if (status.st_size <= 0 || status.st_size > MAX_PLAN_SIZE)
		return -EBADMSG;
	data = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (data == MAP_FAILED)
		return -errno;
	ret_plan->data = data;
	ret_plan->size = (uint32_t)status.st_size;
	return plan_check(ret_plan);
}

/* Receive a part of the plan with the descriptors that its Fd operands name, after those that are known already.  It is in the message
 * itself, or, a large one, in a sealed file that comes before the others. */
static int receive_plan(struct run *run, struct plan *ret_plan)
{
	const uint32_t known = run->plan.descriptors;
	union {
		char bytes[CMSG_SPACE(sizeof(int) * (MAX_DESCRIPTORS + 1))];
		struct cmsghdr align;
	} control;
	uint32_t greeting;
	void *page = mmap(NULL, MAX_INLINE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct iovec data[] = { { &greeting, sizeof(greeting) }, { page, MAX_INLINE_SIZE } };
	struct msghdr message = {
		.msg_iov = data, .msg_iovlen = 2, .msg_control = control.bytes, .msg_controllen = sizeof(control)
	};
	int fds[MAX_DESCRIPTORS + 1], count, files, error;
	ssize_t size;

	if (page == MAP_FAILED)
		return -errno;
	do {
		size = recvmsg(run->channel, &message, MSG_CMSG_CLOEXEC);
	} while (size < 0 && errno == EINTR);
	if (size == 0)
		_exit(1); /* the runtime is gone */
	if (size < 0)
		return -errno;
	count = take_descriptors(&message, fds, MAX_DESCRIPTORS + 1);
	files = size > (ssize_t)sizeof(greeting) ? 0 : 1;
	if (size < (ssize_t)sizeof(greeting) || message.msg_flags & (MSG_TRUNC | MSG_CTRUNC) || count < files)
		return -EBADMSG;
	if (files > 0) {
		error = map_plan(fds[0], ret_plan);
		close(fds[0]);
	} else {
		ret_plan->data = page;
		ret_plan->size = (uint32_t)(size - (ssize_t)sizeof(greeting));
		error = plan_check(ret_plan);
	}
	if (error < 0)
		return error;
	if ((uint32_t)(count - files) + known != ret_plan->descriptors)
		return -EBADMSG;
	memcpy(run->fds + known, fds + files, (size_t)(count - files) * sizeof(int));
	return 0;
}

static int refuse_plan(struct run *run, int error)
{
	const bool other = error == EPROTO;

	return fail(run, error, "plan", other ? "the runtime and its init are of different versions" : "not a plan");
}

/* The host's procfs, verified, before a container could have a word in what /proc is (CVE-2019-16884, CVE-2025-52881). */
static int open_procfs(void)
{
	struct stat status;
	int fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -1;
	if (verify_filesystem(fd, PROC_SUPER_MAGIC) < 0 || fstat(fd, &status) < 0 || status.st_ino != 1) {
		close(fd);
		return -1;
	}
	return fd;
}

static void report_failure(struct run *run)
{
	run->failure.step = run->step;
	(void)send_report(run->channel, &run->failure, -1); /* the runtime may be gone: the exit status is left */
}

int op_await_plan(struct run *run, const struct await_plan *op)
{
	int error = receive_plan(run, &run->next);

	(void)op;
	return error < 0 ? refuse_plan(run, -error) : 0;
}

static int carry_out_part(struct run *run)
{
	const void *record = NULL;
	unsigned code;

	for (uint32_t i = 0; i < run->plan.count; i++, run->step++) {
		record = plan_next(&run->plan, record, &code);
		if (dispatch(run, code, record) < 0) {
			report_failure(run);
			return 1;
		}
	}
	return 0;
}

/* A part of the plan that another follows ends with AwaitPlan, by which that one has arrived. */
static int carry_out(struct run *run)
{
	int status;

	while ((status = carry_out_part(run)) == 0 && run->next.count > 0) {
		run->plan = run->next;
		run->next.count = 0;
	}
	return status;
}

int main(int argc, char **argv)
{
	static struct run run = { .proc_fd = -1, .rootfs_fd = -1, .mask_fd = -1, .kept_slot = -1 };
	int error;

	for (size_t i = 0; i < MAX_SLOTS; i++)
		run.slots[i] = -1;
	if (argc != 2 || (run.channel = atoi(argv[1])) < 3 || !is_channel(run.channel)) {
		(void)!write(STDERR_FILENO, refusal, sizeof(refusal) - 1);
		return 1;
	}
	(void)fcntl(run.channel, F_SETFD, FD_CLOEXEC);
	close_inherited(run.channel);
	error = receive_plan(&run, &run.plan);
	if (error < 0) {
		(void)refuse_plan(&run, -error);
		report_failure(&run);
		return 1;
	}
	run.proc_fd = open_procfs();
	return carry_out(&run);
}
