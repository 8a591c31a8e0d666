/* The system call filter: seccomp(2), config-linux.md "Seccomp".
 *
 * It is loaded as the last act before execve(2), so that a profile need not know what init does.  What is left under it is execve, and,
 * should that fail, to say so and to end: neither may take a system call, which the filter might forbid.  So the last words of init are
 * written to memory that the runtime shares, and which it reads at the end of the channel. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "kernel.h"
#include "operations.h"
#include "seccomp.h"

#define SET_MODE_FILTER 1
#define NEW_LISTENER 8U
#define INSTRUCTION_SIZE 8 /* struct sock_filter */
#define CAPABILITY_VERSION_3 0x20080522
#define SYS_ADMIN 21
#define MFD_CLOEXEC_ 1U
#define MFD_NOEXEC_SEAL_ 8U /* Linux 6.3; demanded where vm.memfd_noexec is 2 */

struct program { /* struct sock_fprog */
	unsigned short length;
	const void *instructions;
};

static long seccomp(unsigned flags, const struct program *program)
{
	return syscall(SYS_seccomp, SET_MODE_FILTER, flags, program);
}

/* A filter at address 0 tells flags that the kernel does not know (EINVAL) from those that it does (EFAULT). */
int op_prepare_filter(struct run *run, const struct prepare_filter *op)
{
	if (seccomp((unsigned)op->flags, NULL) == 0 || errno != EFAULT)
		return fail(run, errno, "seccomp", errno == EINVAL ? "flags" : NULL);
	run->filter.program = op->program;
	run->filter.flags = (unsigned)op->flags;
	run->filter.privileged = op->privileged != 0;
	return 0;
}

bool has_filter(const struct run *run)
{
	return run->filter.program.length > 0;
}

static int memory_file(void)
{
	int fd = (int)syscall(SYS_memfd_create, "last-words", MFD_CLOEXEC_ | MFD_NOEXEC_SEAL_);

	return fd < 0 && errno == EINVAL ? (int)syscall(SYS_memfd_create, "last-words", MFD_CLOEXEC_) : fd;
}

/* Make the memory for the last words, and return a descriptor of it for the runtime. */
int open_last_words(struct run *run)
{
	void *memory;
	int fd = memory_file();

	if (fd < 0)
		return fail(run, errno, "memfd_create", NULL);
	if (ftruncate(fd, sizeof(*run->last_words)) < 0)
		return fail(run, errno, "ftruncate", "memfd");
	memory = mmap(NULL, sizeof(*run->last_words), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		return fail(run, errno, "mmap", "memfd");
	run->last_words = memory;
	return fd;
}

/* Make the permitted CAP_SYS_ADMIN effective: without no_new_privs the kernel wants it, in the user namespace that we are in. */
static int raise_admin(struct run *run)
{
	struct {
		unsigned version;
		int pid;
	} header = { CAPABILITY_VERSION_3, 0 };
	struct {
		unsigned effective, permitted, inheritable;
	} data[2];

	if (syscall(SYS_capget, &header, data) < 0)
		return fail(run, errno, "capget", NULL);
	data[0].effective |= 1U << SYS_ADMIN;
	return syscall(SYS_capset, &header, data) < 0 ? fail(run, errno, "capset", "CAP_SYS_ADMIN") : 0;
}

/* The listener on its way to the runtime.  The thread that loads the filter is under it from then on and may not take a system call;
 * one that was made before is not.  execve(2) ends that one. */
struct delivery {
	struct run *run;
	atomic_int listener; /* -1: not there yet; -2: there will be none */
	atomic_bool done;
};

static void *deliver(void *data)
{
	struct delivery *delivery = data;
	const struct timespec tick = { 0, 20000 };
	int listener;

	while ((listener = atomic_load(&delivery->listener)) == -1)
		(void)nanosleep(&tick, NULL);
	if (listener < 0)
		return NULL;
	if (send_descriptor(delivery->run, DESCRIPTOR_LISTENER, listener) < 0 ||
	    await_reply(delivery->run->channel, REPLY_CONTINUE) < 0)
		_exit(1); /* nobody is left to report to */
	atomic_store(&delivery->done, true);
	return NULL;
}

/* Load a filter with a listener, and wait until the agent has it: without a system call, so turning, for as long as two messages take. */
static int load_with_listener(struct run *run, const struct program *program)
{
	static struct delivery delivery;
	pthread_t thread;
	int error;
	long listener;

	delivery.run = run;
	atomic_store(&delivery.listener, -1);
	error = pthread_create(&thread, NULL, deliver, &delivery);
	if (error != 0)
		return fail(run, error, "clone", "a thread for the listener");
	listener = seccomp(run->filter.flags, program);
	if (listener < 0) {
		error = errno;
		atomic_store(&delivery.listener, -2);
		(void)pthread_join(thread, NULL);
		return fail(run, error, "seccomp", NULL);
	}
	atomic_store(&delivery.listener, (int)listener);
	while (!atomic_load(&delivery.done))
		;
	return 0;
}

int load_filter(struct run *run)
{
	const struct program program = {
		.length = (unsigned short)(run->filter.program.length / INSTRUCTION_SIZE),
		.instructions = text(run, run->filter.program),
	};

	if (run->filter.privileged && raise_admin(run) < 0)
		return -1;
	if (run->filter.flags & NEW_LISTENER)
		return load_with_listener(run, &program);
	return seccomp(run->filter.flags, &program) < 0 ? fail(run, errno, "seccomp", NULL) : 0;
}

/* End under the filter, which may forbid even that, or ask an agent: then by a fault, which is no system call. */
void end_under_filter(struct run *run)
{
	run->failure.build_id = BUILD_ID;
	run->failure.step = run->step;
	memcpy(run->last_words, &run->failure, sizeof(run->failure));
	if (!(run->filter.flags & NEW_LISTENER))
		(void)syscall(SYS_exit_group, 1);
	__builtin_trap();
}
