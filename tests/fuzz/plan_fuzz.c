/* Feeds plans that nobody sane would send to init's only parser, plan_check() of wire.c.
 *
 * Whatever it accepts is then read to the last byte, as the operations would read it: every text must be as long as it says,
 * every list entry a text, every slot and descriptor in range. The sanitizers watch; the copy below is exactly as long as
 * the plan, so that one byte too many is seen.
 *
 * With libFuzzer: plan_fuzz CORPUS…   Without (STANDALONE): plan_fuzz SECONDS SEED FILE… mutates the files with a seeded generator.
 */
#include "wire.c" /* for the table of operand layouts, which is private to it */

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void require(bool condition)
{
	if (!condition)
		abort();
}

static struct text as_text(uint64_t cell)
{
	return (struct text){ .offset = (uint32_t)cell, .length = (uint32_t)(cell >> 32) };
}

static void read_texts(const struct run *run, uint64_t cell)
{
	struct texts list = { .offset = (uint32_t)cell, .count = (uint32_t)(cell >> 32) };

	for (uint32_t i = 0; i < list.count; i++)
		require(strlen(texts_item(run, list, i)) < run->plan.size);
}

static void read_operand(const struct run *run, uint64_t cell, char kind)
{
	struct text value = as_text(cell);

	if (kind == 't')
		require(strlen(text(run, value)) == value.length);
	else if (kind == 'b')
		require(memchr(text(run, value) + value.length, 0, 1) != NULL);
	else if (kind == 'l')
		read_texts(run, cell);
	else if (kind == 'f')
		require(cell == UINT64_MAX || cell < run->plan.descriptors);
	else if (kind == 's')
		require(cell < MAX_SLOTS);
	else
		require(kind == 'i');
}

static void read_plan(const struct run *run)
{
	const void *record = NULL;
	unsigned code;

	for (uint32_t step = 0; step < run->plan.count; step++) {
		record = plan_next(&run->plan, record, &code);
		require(code < LAYOUTS && layouts[code].kinds != NULL);
		for (size_t i = 0; layouts[code].kinds[i]; i++) {
			uint64_t cell;

			memcpy(&cell, (const uint8_t *)record + 8 * i, sizeof(cell));
			read_operand(run, cell, layouts[code].kinds[i]);
		}
	}
}

/* Most inputs would fail at the magic number, the build id or the size. An odd last byte asks for these to be mended. */
static void mend_header(uint8_t *data, size_t size)
{
	const uint64_t magic = PLAN_MAGIC, build_id = BUILD_ID;
	const uint32_t total = (uint32_t)size;

	if (size < HEADER_SIZE || !(data[size - 1] & 1))
		return;
	memcpy(data, &magic, sizeof(magic));
	memcpy(data + 8, &build_id, sizeof(build_id));
	memcpy(data + 28, &total, sizeof(total));
	data[size - 1] = 0; /* what ends the last string of a sound plan */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct run run;
	uint8_t *copy = malloc(size ? size : 1);

	if (!copy)
		return 0;
	memcpy(copy, data, size);
	mend_header(copy, size);
	run.plan = (struct plan){ .data = copy, .size = (uint32_t)size };
	if (plan_check(&run.plan) == 0)
		read_plan(&run);
	free(copy);
	return 0;
}

#ifdef STANDALONE
enum { SEED_MAX = 4096, CHANGES_MAX = 8, BATCH = 1000 };

/* xorshift64: the same seed gives the same plans on every machine. */
static uint64_t random_state = 1;

static uint64_t random_word(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

/* Overwrite a byte, or an aligned word, with anything or with one of the values where arithmetic breaks. */
static void mutate(uint8_t *data, size_t size)
{
	static const uint64_t edges[] = { 0,          1,          7,          8,          0x7fffffff,
					  0x80000000, UINT32_MAX, 1ULL << 32, UINT64_MAX, INT64_MAX };
	uint64_t value = edges[random_word() % (sizeof(edges) / sizeof(edges[0]))];
	size_t at = random_word() % size;

	switch (random_word() % 4) {
	case 0:
		data[at] = (uint8_t)random_word();
		return;
	case 1:
		data[at] ^= (uint8_t)(1u << random_word() % 8);
		return;
	case 2:
		value = random_word() % (2 * size) | random_word() % (2 * size) << 32;
	}
	at &= ~(size_t)7;
	if (at + sizeof(value) <= size)
		memcpy(data + at, &value, sizeof(value));
}

static void fuzz_file(const char *path)
{
	uint8_t seed[SEED_MAX], data[SEED_MAX];
	FILE *file = fopen(path, "rb");
	size_t size;

	if (!file)
		exit(2);
	size = fread(seed, 1, sizeof(seed), file);
	fclose(file);
	if (size == 0)
		return;
	for (int i = 0; i < BATCH; i++) {
		memcpy(data, seed, size);
		for (uint64_t changes = 1 + random_word() % CHANGES_MAX; changes > 0; changes--)
			mutate(data, size);
		LLVMFuzzerTestOneInput(data, random_word() % 8 ? size : random_word() % size);
	}
}

int main(int argc, char **argv)
{
	time_t end;

	if (argc < 4)
		return 2;
	end = time(NULL) + atol(argv[1]);
	random_state = strtoull(argv[2], NULL, 10) | 1;
	do {
		for (int i = 3; i < argc; i++)
			fuzz_file(argv[i]);
	} while (time(NULL) < end);
	return 0;
}
#endif
