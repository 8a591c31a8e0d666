/* The system call filter, loaded right before execve(2). */
#ifndef SECCOMP_H
#define SECCOMP_H

#include "operations.h"

bool has_filter(const struct run *run);
int open_last_words(struct run *run);
int load_filter(struct run *run);
void end_under_filter(struct run *run) __attribute__((noreturn));

#endif
