/* enosys: runs a program for which system calls are missing, as on an older kernel or under a filter that does not know them.
 *
 *     enosys [-e ERRNO] NAME[,NAME...] PROGRAM [ARGUMENT...]
 *
 * Each named call fails with ENOSYS, or with the given error number (EPERM is what some container engines' filters say).
 * seccomp(2); the filter lasts through fork and execve, so that everything below PROGRAM is under it. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define NATIVE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE AUDIT_ARCH_AARCH64
#elif defined(__riscv)
#define NATIVE AUDIT_ARCH_RISCV64
#else
#error "say here which AUDIT_ARCH this machine is"
#endif

#define CALLS_MAX 32

/* The numbers of calls since Linux 5.1 are the same on all architectures. */
static const struct {
	const char *name;
	unsigned number;
} known[] = {
	{ "open_tree", 428 },       { "move_mount", 429 },  { "fsopen", 430 },        { "fsconfig", 431 },
	{ "fsmount", 432 },         { "clone3", 435 },      { "close_range", 436 },   { "openat2", 437 },
	{ "pidfd_open", 434 },      { "pidfd_getfd", 438 }, { "mount_setattr", 442 }, { "fchmodat2", 452 },
	{ "seccomp", SYS_seccomp },
};

static int number_of(const char *name)
{
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(known[i].name, name) == 0)
			return (int)known[i].number;
	fprintf(stderr, "enosys: unknown system call %s\n", name);
	exit(2);
}

static unsigned numbers_of(char *names, unsigned numbers[CALLS_MAX])
{
	unsigned count = 0;

	for (char *name = strtok(names, ","); name != NULL && count < CALLS_MAX; name = strtok(NULL, ","))
		numbers[count++] = (unsigned)number_of(name);
	return count;
}

static int install(const unsigned *numbers, unsigned count, int error)
{
	struct sock_filter code[CALLS_MAX + 5];
	struct sock_fprog program = { .filter = code };
	unsigned at = 0;

	code[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
	/* A call of another architecture is not what is tested. */
	code[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NATIVE, 0, (unsigned char)(count + 1));
	code[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (unsigned i = 0; i < count; i++)
		code[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, numbers[i],
							  (unsigned char)(count - i), 0);
	code[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	code[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error);
	program.len = (unsigned short)at;
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0)
		return 0;
	/* Without CAP_SYS_ADMIN a filter asks for no_new_privs; with it, that would change what the tests see. */
	if (errno != EACCES || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -1;
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

int main(int argc, char **argv)
{
	unsigned numbers[CALLS_MAX], count;
	int error = ENOSYS, first = 1;

	if (argc > 2 && strcmp(argv[1], "-e") == 0) {
		error = atoi(argv[2]);
		first = 3;
	}
	if (argc < first + 2) {
		fputs("usage: enosys [-e ERRNO] NAME[,NAME...] PROGRAM [ARGUMENT...]\n", stderr);
		return 2;
	}
	count = numbers_of(argv[first], numbers);
	if (install(numbers, count, error) < 0) {
		perror("enosys: seccomp");
		return 2;
	}
	execvp(argv[first + 1], argv + first + 1);
	perror("enosys: execvp");
	return 2;
}
