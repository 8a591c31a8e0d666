/* What of the kernel's interface the C library's headers do not hold.
 *
 * musl-gcc does not see <linux/…>, and glibc's own headers lag behind, so the few numbers and structures are written out
 * here. They are kernel ABI: they never change. */
#pragma once

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif

#include <stdint.h>
#include <sys/syscall.h>

/* ---- begin: path.c and copyup.c ------------------------------------------------------------------------------------ */

/* openat2(2), Linux 5.6. */
#ifndef SYS_openat2
#define SYS_openat2 437
#endif

struct kernel_open_how {
	uint64_t flags;
	uint64_t mode;
	uint64_t resolve;
};

#ifndef RESOLVE_NO_XDEV
#define RESOLVE_NO_XDEV 0x01
#define RESOLVE_NO_MAGICLINKS 0x02
#define RESOLVE_NO_SYMLINKS 0x04
#define RESOLVE_BENEATH 0x08
#define RESOLVE_IN_ROOT 0x10
#endif

/* statx(2). The mount id came with Linux 5.8; only the fields up to it are named, the rest is room. */
#ifndef STATX_MNT_ID
#define STATX_MNT_ID 0x1000U
#endif

struct kernel_statx {
	uint32_t stx_mask;
	uint32_t before_mnt_id[35];
	uint64_t stx_mnt_id;
	uint64_t after_mnt_id[13];
};

_Static_assert(sizeof(struct kernel_statx) == 256, "statx(2) writes 256 bytes");
_Static_assert(__builtin_offsetof(struct kernel_statx, stx_mnt_id) == 144, "stx_mnt_id is at offset 0x90");

/* statfs(2): symlinks of this mount are not followed, Linux 5.10. */
#ifndef ST_NOSYMFOLLOW
#define ST_NOSYMFOLLOW 0x2000
#endif

/* File systems, by the f_type of statfs(2). */
#ifndef PROC_SUPER_MAGIC
#define PROC_SUPER_MAGIC 0x9fa0UL
#endif

/* getdents64(2): one entry; musl and glibc disagree on the name of the wrapper. */
struct kernel_dirent64 {
	uint64_t d_ino;
	int64_t d_off;
	uint16_t d_reclen;
	uint8_t d_type;
	char d_name[];
};

/* ---- end: path.c and copyup.c -------------------------------------------------------------------------------------- */
