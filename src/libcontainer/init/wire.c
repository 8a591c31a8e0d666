/* The plan's format and the conversation with the runtime.
 *
 * plan_check() is the only parser in init: it reads bytes that another process made, so it believes no count, offset or length, and
 * it is complete before the first step runs (CVE-2021-43784).  It is fuzzed alone: tests/fuzz/plan_fuzz.c.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "operations.h"

#define HEADER_SIZE 32
#define LAYOUTS (sizeof(layouts) / sizeof(layouts[0]))

static uint64_t word(const struct plan *plan, uint32_t offset)
{
	uint64_t value;

	memcpy(&value, plan->data + offset, sizeof(value));
	return value;
}

/* A string lies inside the plan, ends with NUL, and (unless it is a blob) has none inside. */
static bool string_is_sound(const struct plan *plan, uint64_t cell, bool blob)
{
	uint64_t offset = cell & UINT32_MAX, length = cell >> 32;

	if (offset + length >= plan->size || plan->data[offset + length] != 0)
		return false;
	return blob || memchr(plan->data + offset, 0, length) == NULL;
}

static bool list_is_sound(const struct plan *plan, uint64_t cell)
{
	uint64_t offset = cell & UINT32_MAX, count = cell >> 32;

	if (offset % 8 != 0 || offset + count * 8 > plan->size)
		return false;
	for (uint64_t i = 0; i < count; i++)
		if (!string_is_sound(plan, word(plan, (uint32_t)(offset + i * 8)), false))
			return false;
	return true;
}

static bool cell_is_sound(const struct plan *plan, uint64_t cell, char kind)
{
	switch (kind) {
	case 'i':
		return true;
	case 't':
		return string_is_sound(plan, cell, false);
	case 'b':
		return string_is_sound(plan, cell, true);
	case 'l':
		return list_is_sound(plan, cell);
	case 'f':
		return cell < plan->descriptors || cell == UINT64_MAX;
	case 's':
		return cell < MAX_SLOTS;
	}
	return false;
}

static bool record_is_sound(const struct plan *plan, uint32_t offset, uint32_t *ret_next)
{
	uint64_t head = word(plan, offset);
	uint64_t code = head & 0xffff, cells = head >> 16;

	if (code >= LAYOUTS || layouts[code].kinds == NULL || cells != strlen(layouts[code].kinds))
		return false;
	if ((uint64_t)offset + 8 + cells * 8 > plan->size)
		return false;
	for (uint32_t i = 0; i < cells; i++)
		if (!cell_is_sound(plan, word(plan, offset + 8 + i * 8), layouts[code].kinds[i]))
			return false;
	*ret_next = offset + 8 + (uint32_t)cells * 8;
	return true;
}

/* Check the whole plan in plan->data[0..size); fills in the rest of *plan.  0, -EPROTO (another version) or -EBADMSG. */
int plan_check(struct plan *plan)
{
	uint64_t counts, sizes;
	uint32_t offset = HEADER_SIZE;

	if (plan->size < HEADER_SIZE || plan->size > MAX_PLAN_SIZE || word(plan, 0) != PLAN_MAGIC)
		return -EBADMSG;
	if (word(plan, 8) != BUILD_ID)
		return -EPROTO;
	counts = word(plan, 16);
	sizes = word(plan, 24);
	plan->count = (uint32_t)counts;
	plan->descriptors = (uint32_t)(counts >> 32);
	if (sizes >> 32 != plan->size || plan->descriptors > MAX_DESCRIPTORS || plan->count == 0)
		return -EBADMSG;
	for (uint32_t i = 0; i < plan->count; i++)
		if ((uint64_t)offset + 8 > plan->size || !record_is_sound(plan, offset, &offset))
			return -EBADMSG;
	return 0;
}

/* The operands of the record after `record` (NULL: of the first one). */
const void *plan_next(const struct plan *plan, const void *record, unsigned *ret_code)
{
	uint32_t offset = HEADER_SIZE;

	if (record != NULL) {
		offset = (uint32_t)((const uint8_t *)record - plan->data);
		offset += 8 * (uint32_t)(word(plan, offset - 8) >> 16);
	}
	*ret_code = word(plan, offset) & 0xffff;
	return plan->data + offset + 8;
}

const char *text(const struct run *run, struct text value)
{
	return (const char *)run->plan.data + value.offset;
}

const char *texts_item(const struct run *run, struct texts value, uint32_t index)
{
	return (const char *)run->plan.data + (uint32_t)word(&run->plan, value.offset + 8 * index);
}

int fail(struct run *run, int error, const char *call, const char *detail)
{
	struct report *report = &run->failure;

	report->type = REPORT_FAILED;
	report->error = error;
	strncpy(report->call, call, sizeof(report->call) - 1);
	if (detail != NULL && detail != report->detail)
		strncpy(report->detail, detail, sizeof(report->detail) - 1);
	return -1;
}

/* Send one report, with a descriptor unless fd is -1. */
int send_report(int channel, struct report *report, int fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { { 0 } };
	struct iovec data = { report, offsetof(struct report, detail) + strlen(report->detail) };
	struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1 };

	report->build_id = BUILD_ID;
	if (fd >= 0) {
		message.msg_control = control.bytes;
		message.msg_controllen = sizeof(control.bytes);
		struct cmsghdr *header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(header), &fd, sizeof(int));
	}
	for (;;) {
		if (sendmsg(channel, &message, MSG_NOSIGNAL) >= 0)
			return 0;
		if (errno != EINTR)
			return -errno;
	}
}

int send_descriptor(struct run *run, enum descriptor_kind kind, int fd)
{
	struct report report = { .type = REPORT_DESCRIPTOR, .step = run->step, .value = kind };

	return send_report(run->channel, &report, fd);
}

/* Wait for the runtime's word.  The end of the channel means that the runtime is gone: -ECONNRESET. */
int await_reply(int channel, enum reply_type wanted)
{
	uint32_t reply = 0;
	ssize_t size;

	do {
		size = recv(channel, &reply, sizeof(reply), 0);
	} while (size < 0 && errno == EINTR);
	if (size < 0)
		return -errno;
	if (size == 0)
		return -ECONNRESET;
	return size == sizeof(reply) && reply == (uint32_t)wanted ? 0 : -EBADMSG;
}
