/* The plan as it arrives, its check, and the reports that go back.  See plan/encode.py for the format. */
#ifndef WIRE_H
#define WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PLAN_MAGIC UINT64_C(0x314e414c5049434f) /* "OCIPLAN1", little-endian */
#define MAX_PLAN_SIZE (16u << 20)
#define MAX_DESCRIPTORS 64
#define MAX_INLINE_SIZE (1 << 16) /* of a part of the plan that is in its message: channel.py */
#define MAX_SLOTS 1024

/* Operand forms.  Offsets count bytes from the start of the plan and have been checked by plan_check(). */
struct text {
	uint32_t offset;
	uint32_t length;
};

struct texts {
	uint32_t offset;
	uint32_t count;
};

struct layout {
	const char *name;
	const char *kinds; /* one letter an operand: i(nt) t(ext) b(lob) l(ist of texts) f(d) s(lot) */
};

struct plan {
	const uint8_t *data;
	uint32_t size;
	uint32_t count; /* of operations */
	uint32_t descriptors;
};

enum report_type {
	REPORT_CHILD = 1,      /* value: the pid of stage two */
	REPORT_SYNC = 2,       /* value: the point that is reached */
	REPORT_DESCRIPTOR = 3, /* value: what the accompanying descriptor is */
	REPORT_FAILED = 4,     /* the step failed: error, call, detail */
	REPORT_STARTED =
		5, /* the payload is about to be executed: the end of the channel after this is success, unless the
	                          memory whose descriptor comes along holds a REPORT_FAILED then */
};

enum descriptor_kind {
	DESCRIPTOR_CONSOLE = 1,
	DESCRIPTOR_NETLINK = 2,
	DESCRIPTOR_LISTENER = 3,
};

enum reply_type {
	REPLY_CONTINUE = 1,
	REPLY_START = 2,
};

struct report {
	uint64_t build_id;
	uint32_t type;
	uint32_t step;
	int32_t error;
	uint32_t reserved;
	int64_t value;
	char call[24];
	char detail[1024];
};

/* Everything init knows.  Passed along; there is no other mutable state. */
struct run {
	struct plan plan;
	struct plan next; /* the part that follows, once it has arrived */
	uint32_t step;    /* the operation being carried out */
	int channel;
	int fds[MAX_DESCRIPTORS];
	int slots[MAX_SLOTS];
	int proc_fd;       /* the host's procfs, opened before anything of the container exists */
	int rootfs_fd;     /* the root file system; "/" after the change of root */
	int mask_fd;       /* the empty read-only directory behind masked directories */
	int64_t kept_slot; /* the mount whose mount point was looked at last, and whether that leads to it (masks.c) */
	bool kept_leads;
	const char *executable;
	struct {
		struct text program; /* empty: no filter */
		unsigned flags;
		bool privileged;
	} filter;
	struct report *last_words; /* shared with the runtime, for a failure under the filter */
	struct report failure;
};

int plan_check(struct plan *plan);
const void *plan_next(const struct plan *plan, const void *record, unsigned *ret_code);

const char *text(const struct run *run, struct text value);
const char *texts_item(const struct run *run, struct texts value, uint32_t index);

/* Remember why the current step failed; returns -1 for the handler to return. */
int fail(struct run *run, int error, const char *call, const char *detail);
int send_report(int channel, struct report *report, int fd);
int send_descriptor(struct run *run, enum descriptor_kind kind, int fd);
int await_reply(int channel, enum reply_type wanted);

#endif
