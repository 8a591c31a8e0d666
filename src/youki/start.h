/* `youki start` where it is but one word to a waiting init: without Python, whose start would be most of it. */
#ifndef START_H
#define START_H

#include <limits.h>

/* A start that has been begun and that Python is to finish: the connection to init, and what came with its report. */
struct begun {
	int connection; /* -1: nothing has been begun */
	int last_words; /* -1: the payload has no system call filter */
};

/* Returns 0 when the container has started, -1 when Python must do the command, or the rest of it. */
int start(int argc, char **argv, struct begun *ret_begun);

#endif
