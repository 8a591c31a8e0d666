/* Make system calls, by number and of every kind that this machine has, and tell what became of each.
 *
 *     probe ARCH call NUMBER [ARGUMENT…]     one call, in a child process
 *     probe ARCH all LAST                    each number from 0 to LAST, every argument -1
 *     probe ARCH thread NUMBER [ARGUMENT…]   one call in a second thread: does the first one survive?
 *     probe ARCH traced NUMBER [ARGUMENT…]   one call of a traced process: what does the tracer hear?
 *
 * ARCH is x86_64, x32 (its bit set in the number) or x86 (int $0x80); elsewhere it is `native`. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define X32_BIT 0x40000000L
#define PATIENCE_MS 1000

struct answer {
	volatile int stage; /* 1: about to call; 2: `result` is there; 3: a SIGSYS handler ran */
	volatile long result;
};

static struct answer *answer; /* of the current call: each number has its own, since a forked copy may be late */
static const char *arch;

#ifdef __x86_64__
static long gate_64(long number, const long *a)
{
	register long r10 __asm__("r10") = a[3], r8 __asm__("r8") = a[4], r9 __asm__("r9") = a[5];
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}

static long gate_32(long number, const long *a)
{
	register long sixth __asm__("r12") = a[5];
	long result;

	__asm__ volatile("push %%rbp\n\tmov %%r12, %%rbp\n\tint $0x80\n\tpop %%rbp"
			 : "=a"(result)
			 : "a"(number), "b"(a[0]), "c"(a[1]), "d"(a[2]), "S"(a[3]), "D"(a[4]), "r"(sixth)
			 : "r8", "r9", "r10", "r11", "memory");
	return (int)result;
}

static long call(long number, const long *a)
{
	if (strcmp(arch, "x86") == 0)
		return gate_32(number, a);
	return gate_64(strcmp(arch, "x32") == 0 ? number | X32_BIT : number, a);
}
#else
static long call(long number, const long *a)
{
	long result = syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);

	return result < 0 ? -errno : result;
}
#endif

static void on_trap(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)context;
	answer->result = info->si_errno;
	answer->stage = 3;
	_exit(0);
}

static void make_call(long number, const long *a)
{
	long result;

	answer->stage = 1;
	result = call(number, a);
	answer->result = result;
	answer->stage = 2;
	for (;;)
		(void)syscall(SYS_exit_group, 0); /* a forked copy ends here, too */
}

/* Wait until `child` has ended, or for a while once it is in the call. Returns its wait status, -1 when it still waits. */
static int await(pid_t child)
{
	const struct timespec tick = { 0, 1000000 };
	int status;

	for (int waited = 0; waited < PATIENCE_MS || answer->stage == 0;) {
		pid_t got = waitpid(child, &status, WNOHANG | __WALL);
		if (got == child)
			return status;
		if (answer->stage == 1)
			waited++;
		nanosleep(&tick, NULL);
	}
	kill(child, SIGKILL);
	waitpid(child, &status, __WALL);
	return -1;
}

static void tell(long number, int status)
{
	printf("%ld ", number);
	if (answer->stage == 3)
		printf("trap %ld\n", answer->result);
	else if (answer->stage == 2 && answer->result < 0 && answer->result > -4096)
		printf("errno %ld\n", -answer->result);
	else if (answer->stage == 2)
		printf("ok\n");
	else if (status == -1)
		printf("waits\n");
	else if (WIFSIGNALED(status))
		printf("signal %d\n", WTERMSIG(status));
	else
		printf("exit %d\n", WEXITSTATUS(status));
}

static void try_in_child(long number, const long *a)
{
	struct sigaction action = { .sa_sigaction = on_trap, .sa_flags = SA_SIGINFO };
	pid_t child;

	child = fork();
	if (child == 0) {
		sigaction(SIGSYS, &action, NULL);
		make_call(number, a);
	}
	tell(number, await(child));
}

struct job {
	long number;
	const long *arguments;
	volatile int thread;
};

static void *in_thread(void *data)
{
	struct job *job = data;

	job->thread = (int)syscall(SYS_gettid);
	answer->stage = 1;
	answer->result = call(job->number, job->arguments);
	answer->stage = 2;
	return NULL;
}

/* A thread that the kernel ends cannot be joined: nobody has said goodbye. */
static void try_in_thread(struct job job)
{
	const struct timespec tick = { 0, 1000000 };
	pthread_t thread;
	pid_t child = fork();
	int status;

	if (child == 0) {
		pthread_create(&thread, NULL, in_thread, &job);
		while (answer->stage == 0 || syscall(SYS_tgkill, getpid(), job.thread, 0) == 0)
			nanosleep(&tick, NULL);
		_exit(answer->stage == 2 ? 0 : 3);
	}
	waitpid(child, &status, 0);
	printf("%s\n", WIFSIGNALED(status) ? "process" : WEXITSTATUS(status) == 3 ? "thread" : "none");
}

static void try_traced(struct job job)
{
	unsigned long message = 0;
	pid_t child = fork();
	int status;

	if (child == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		make_call(job.number, job.arguments);
	}
	waitpid(child, &status, 0);
	ptrace(PTRACE_SETOPTIONS, child, NULL, PTRACE_O_TRACESECCOMP | PTRACE_O_EXITKILL);
	ptrace(PTRACE_CONT, child, NULL, NULL);
	waitpid(child, &status, 0);
	if (status >> 8 == (SIGTRAP | PTRACE_EVENT_SECCOMP << 8) &&
	    ptrace(PTRACE_GETEVENTMSG, child, NULL, &message) == 0)
		printf("%ld trace %lu\n", job.number, message);
	else
		printf("%ld no event: %#x\n", job.number, (unsigned)status);
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
}

int main(int argc, char **argv)
{
	long arguments[6] = { 0 }, last;

	if (argc < 4)
		return 2;
	setvbuf(stdout, NULL, _IOFBF, 1 << 16);
	arch = argv[1];
	last = strtol(argv[3], NULL, 0);
	answer = mmap(NULL, ((size_t)last + 1) * sizeof(*answer), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	for (int i = 4; i < argc && i < 10; i++)
		arguments[i - 4] = (long)strtoul(argv[i], NULL, 0);
	fflush(stdout);
	if (strcmp(argv[2], "call") == 0)
		try_in_child(last, arguments);
	else if (strcmp(argv[2], "thread") == 0)
		try_in_thread((struct job){ .number = last, .arguments = arguments });
	else if (strcmp(argv[2], "traced") == 0)
		try_traced((struct job){ .number = last, .arguments = arguments });
	else if (strcmp(argv[2], "all") == 0) {
		memset(arguments, -1, sizeof(arguments));
		for (long number = 0; number <= last; number++, answer++) {
			try_in_child(number, arguments);
			fflush(stdout);
		}
	}
	return fflush(stdout) != 0;
}
