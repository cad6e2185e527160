/* SPDX-License-Identifier: Apache-2.0 */
/* What must be true. An assertion that fails is a bug of ours: it prints where, what the thread was
 * doing, and aborts. Nothing a peer or a user sends may trip one. */
#ifndef BASE_PANIC_H
#define BASE_PANIC_H

/* Always on, in release too. */
#define ASSERT(cond)                                       \
    do {                                                   \
        if (__builtin_expect(!(cond), 0))                  \
            panic_at(__FILE__, __LINE__, __func__, #cond); \
    } while (0)

/* For the hottest places only; off when NDEBUG_HOT is defined. */
#ifdef NDEBUG_HOT
#define ASSERT_HOT(cond) ((void)0)
#else
#define ASSERT_HOT(cond) ASSERT(cond)
#endif

#define PANIC(text) panic_at(__FILE__, __LINE__, __func__, text)

/* Prints `text` with its place and what panic_note gave, then aborts. */
void panic_at(const char *file, int line, const char *func, const char *text)
    __attribute__((noreturn, cold));

/* Registers, for this thread, a function that describes the object at work (an exchange's trail)
 * into out; called only by a panic. NULL removes it. */
void panic_note(void (*describe)(void *arg, char *out, unsigned long size), void *arg);

#endif
