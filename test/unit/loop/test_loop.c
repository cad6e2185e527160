/* SPDX-License-Identifier: Apache-2.0 */
/* The event loop: the order of messages, events, timers, tasks and burials within a turn, what is
 * promised between threads, and that nothing reaches an io after it was unwatched. Meant for the
 * thread sanitizer too. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"
#include "loop/loop.h"

enum { GIVE_UP_S = 30 };

static struct loop loop;
static char trail[256]; /* what ran, a letter each */

static void mark(char c)
{
    size_t n = strlen(trail);

    assert_true(n + 1 < sizeof(trail));
    trail[n] = c;
    trail[n + 1] = 0;
}

static int setup(void **state)
{
    (void)state;
    assert_true(loop_init(&loop));
    memset(trail, 0, sizeof(trail));
    /* Not a timer of the loop: it may sleep for ever, so that a wake-up that is missing shows. */
    alarm(GIVE_UP_S);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    alarm(0);
    loop_fini(&loop);
    return 0;
}

static void run(void)
{
    loop.stop = false;
    loop_run(&loop);
}

/* ---- helpers: an item of each kind that leaves a letter -----------------------------------------
 */

struct item {
    struct io io;
    struct task task;
    struct timer timer;
    struct message message;
    struct grave grave;
    char letter;
    bool stops;
    int other_end;                /* of the pipe whose reading end io watches */
    void (*then)(struct item *i); /* more to do */
    struct item *other;
};

static void item_run(struct item *i)
{
    mark(i->letter);
    if (i->then)
        i->then(i);
    if (i->stops)
        loop_stop(&loop);
}

static void on_task(struct task *t)
{
    item_run(CONTAINER(t, struct item, task));
}

static void on_timer(struct timer *t)
{
    item_run(CONTAINER(t, struct item, timer));
}

static void on_message(struct message *m)
{
    item_run(CONTAINER(m, struct item, message));
}

static void on_event(struct io *io, uint32_t events)
{
    char c;

    assert_true(events & EPOLLIN);
    assert_int_equal(read(io->fd, &c, 1), 1);
    item_run(CONTAINER(io, struct item, io));
}

static void on_release(struct grave *g)
{
    struct item *i = CONTAINER(g, struct item, grave);

    mark(i->letter);
    free(i);
}

static void item_init(struct item *i, char letter)
{
    *i = (struct item){.letter = letter, .other_end = -1};
    task_init(&i->task, on_task);
    timer_init(&i->timer, on_timer);
    i->message.run = on_message;
}

static void item_pipe(struct item *i)
{
    int fds[2];

    assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
    i->io = (struct io){.fd = fds[0], .on_event = on_event};
    i->other_end = fds[1];
}

static void item_ready(struct item *i)
{
    assert_int_equal(write(i->other_end, "x", 1), 1);
}

static void item_close(struct item *i)
{
    loop_unwatch(&loop, &i->io);
    close(i->io.fd);
    close(i->other_end);
}

/* ---- one turn -----------------------------------------------------------------------------------
 */

static void bury_copy(struct item *i)
{
    struct item *grave = mem_alloc(sizeof(*grave));

    *grave = (struct item){.letter = (char)(i->letter | 0x20)};
    loop_bury(&loop, &grave->grave, on_release);
}

static void defer_other(struct item *i)
{
    loop_defer(&loop, &i->other->task);
}

static void test_order_of_a_turn(void **state)
{
    struct item message, event, timer, task;

    (void)state;
    item_init(&message, 'M');
    item_init(&event, 'E');
    item_init(&timer, 'T');
    item_init(&task, 'D');
    item_pipe(&event);
    assert_true(loop_watch_level(&loop, &event.io, EPOLLIN));
    /* All at once; each buries something, which goes last of all. */
    message.then = event.then = timer.then = task.then = bury_copy;
    task.stops = true;
    timers_init(&loop.timers, loop.now_ms - 2); /* so that a tick passes in this turn */
    timer_set(&loop.timers, &timer.timer, loop.now_ms);
    loop_defer(&loop, &task.task);
    item_ready(&event);
    loop_post(&loop, &message.message);
    run();
    assert_string_equal(trail, "METDmetd");
    item_close(&event);
}

static void test_tasks(void **state)
{
    struct item a, b, c;

    (void)state;
    item_init(&a, 'a');
    item_init(&b, 'b');
    item_init(&c, 'c');
    loop_defer(&loop, &a.task);
    loop_defer(&loop, &b.task);
    loop_defer(&loop, &a.task); /* once all the same */
    loop_defer(&loop, &c.task);
    task_cancel(&b.task);
    task_cancel(&b.task);
    c.stops = true;
    run();
    assert_string_equal(trail, "ac");
    /* Free to be queued again. */
    loop_defer(&loop, &c.task);
    run();
    assert_string_equal(trail, "acc");
}

static void defer_self(struct item *i)
{
    if (strlen(trail) < 12)
        loop_defer(&loop, &i->task);
    else
        i->stops = true;
}

/* A task that comes back at once leaves the sockets their turn. */
static void test_task_defers_itself(void **state)
{
    struct item task, event;

    (void)state;
    item_init(&task, 't');
    item_init(&event, 'e');
    item_pipe(&event);
    assert_true(loop_watch_level(&loop, &event.io, EPOLLIN));
    task.then = defer_self;
    for (int i = 0; i < 5; i++)
        item_ready(&event);
    loop_defer(&loop, &task.task);
    run();
    assert_string_equal(trail, "etetetetettt");
    item_close(&event);
}

static void cancel_other(struct item *i)
{
    task_cancel(&i->other->task);
}

static void test_task_cancelled_by_task(void **state)
{
    struct item a, b, c, d;

    (void)state;
    item_init(&a, 'a');
    item_init(&b, 'b');
    item_init(&c, 'c');
    item_init(&d, 'd');
    a.then = cancel_other;
    a.other = &b;
    c.then = defer_other; /* the next turn's, behind d */
    c.other = &a;
    d.stops = true;
    loop_defer(&loop, &a.task);
    loop_defer(&loop, &b.task);
    loop_defer(&loop, &c.task);
    loop_defer(&loop, &d.task);
    run();
    assert_string_equal(trail, "acd"); /* stops when the turn is over, and only then */
    assert_false(list_empty(&a.task.link));
    task_cancel(&a.task);
    assert_true(list_empty(&loop.tasks));
}

static void test_stop(void **state)
{
    (void)state;
    loop.stop = true;
    loop_run(&loop);
    assert_string_equal(trail, "");
}

static void on_flush(struct loop *l)
{
    assert_ptr_equal(l, &loop);
    mark('.');
}

/* What a callback wrote goes out before the next one runs. */
static void test_flush(void **state)
{
    struct item message, event, task;

    (void)state;
    item_init(&message, 'm');
    item_init(&event, 'e');
    item_init(&task, 't');
    item_pipe(&event);
    assert_true(loop_watch_level(&loop, &event.io, EPOLLIN));
    loop.flush = on_flush;
    task.stops = true;
    loop_defer(&loop, &task.task);
    item_ready(&event);
    loop_post(&loop, &message.message);
    run();
    assert_string_equal(trail, "m.e..t."); /* the third: timers */
    item_close(&event);
}

/* ---- events -------------------------------------------------------------------------------------
 */

static struct item *left;

/* Both are ready in one turn; the first to run removes, closes and buries the other. */
static void remove_other(struct item *i)
{
    struct item *other = i->other;

    left = i;
    item_close(other);
    other->letter = 'r';
    loop_bury(&loop, &other->grave, on_release);
    loop_stop(&loop);
}

static void test_unwatched_in_its_turn(void **state)
{
    struct item *two[2];

    (void)state;
    for (int i = 0; i < 2; i++) {
        two[i] = mem_alloc(sizeof(*two[i]));
        item_init(two[i], 'e');
        item_pipe(two[i]);
        two[i]->then = remove_other;
        assert_true(loop_watch_level(&loop, &two[i]->io, EPOLLIN));
    }
    two[0]->other = two[1];
    two[1]->other = two[0];
    item_ready(two[0]);
    item_ready(two[1]);
    run();
    assert_string_equal(trail, "er");
    item_close(left);
    free(left);
}

static void count_level(struct item *i)
{
    i->stops = strlen(trail) == 3;
}

/* Level: as long as bytes are there. Other events can be asked for later. */
static void test_level(void **state)
{
    struct item i;

    (void)state;
    item_init(&i, 'l');
    item_pipe(&i);
    i.then = count_level;
    assert_true(loop_watch_level(&loop, &i.io, EPOLLIN));
    item_ready(&i);
    item_ready(&i);
    item_ready(&i);
    run();
    assert_string_equal(trail, "lll");
    item_ready(&i);
    assert_true(loop_watch_level(&loop, &i.io, 0));
    struct item stop;
    item_init(&stop, 's');
    stop.stops = true;
    loop_defer(&loop, &stop.task);
    run();
    assert_string_equal(trail, "llls");
    i.stops = true;
    i.then = NULL;
    assert_true(loop_watch_level(&loop, &i.io, EPOLLIN));
    run();
    assert_string_equal(trail, "lllsl");
    item_close(&i);
    /* A descriptor that epoll refuses. */
    struct io bad = {.fd = -1, .on_event = on_event};
    assert_false(loop_watch_level(&loop, &bad, EPOLLIN));
    assert_false(loop_watch(&loop, &bad));
}

static void end_turn_twice(struct item *i)
{
    if (i->other) {
        loop_defer(&loop, &i->other->task);
        i->other = NULL;
    }
}

/* Edge: once for each arrival, although bytes are left. */
static void test_edge(void **state)
{
    struct item i, again, stop;

    (void)state;
    item_init(&i, 'e');
    item_init(&again, 'a');
    item_init(&stop, 's');
    item_pipe(&i);
    assert_true(loop_watch(&loop, &i.io));
    item_ready(&i);
    item_ready(&i);
    stop.stops = true;
    again.then = end_turn_twice;
    again.other = &stop;
    loop_defer(&loop, &again.task);
    run();
    assert_string_equal(trail, "eas");
    item_ready(&i);
    i.stops = true;
    run();
    assert_string_equal(trail, "ease");
    item_close(&i);
}

/* ---- timers -------------------------------------------------------------------------------------
 */

static void test_timers_wake(void **state)
{
    struct item slow, quick, late;
    int64_t began = loop.now_ms;

    (void)state;
    item_init(&slow, 's');
    item_init(&quick, 'q');
    item_init(&late, 'l');
    loop_timer(&loop, &slow.timer, 30);
    loop_timer(&loop, &quick.timer, 10);
    loop_timer(&loop, &late.timer, 3600000);
    slow.stops = true;
    run();
    assert_string_equal(trail, "qs");
    assert_true(loop.now_ms - began >= 30);
    assert_int_equal(loop.now_us / 1000, loop.now_ms);
    assert_true(loop.wall_ms > 1600000000000);
    timer_clear(&loop.timers, &late.timer);
}

/* ---- other threads ------------------------------------------------------------------------------
 */

enum { SENDERS = 4, EACH = 5000 };

struct parcel {
    struct message message;
    int sender, number;
};

static int arrived[SENDERS], total;

static void on_parcel(struct message *m)
{
    struct parcel *p = CONTAINER(m, struct parcel, message);

    assert_int_equal(arrived[p->sender], p->number);
    arrived[p->sender]++;
    if (++total == SENDERS * EACH)
        loop_stop(&loop);
    free(p);
}

static void *send_parcels(void *arg)
{
    int sender = (int)(intptr_t)arg;

    for (int i = 0; i < EACH; i++) {
        struct parcel *p = mem_zero(sizeof(*p));
        p->message.run = on_parcel;
        p->sender = sender;
        p->number = i;
        loop_post(&loop, &p->message);
    }
    return NULL;
}

/* All arrive, those of one thread in the order in which it sent them, and the loop need not be
 * awake: it waits in epoll when there is nothing. */
static void test_messages_of_threads(void **state)
{
    pthread_t threads[SENDERS];

    (void)state;
    memset(arrived, 0, sizeof(arrived));
    total = 0;
    for (int i = 0; i < SENDERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, send_parcels, (void *)(intptr_t)i), 0);
    run();
    for (int i = 0; i < SENDERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(arrived[i], EACH);
    }
}

enum { ROUNDS = 3000 };

/* The other thread posts, then makes a descriptor ready: the message runs first, every time. */
struct rally {
    struct message message;
    struct io io;
    int to_loop[2], to_thread[2];
    int messages, events;
};

static void on_rally_message(struct message *m)
{
    CONTAINER(m, struct rally, message)->messages++;
}

static void on_rally_event(struct io *io, uint32_t events)
{
    struct rally *r = CONTAINER(io, struct rally, io);
    char c;

    (void)events;
    assert_int_equal(read(io->fd, &c, 1), 1);
    r->events++;
    assert_int_equal(r->messages, r->events);
    if (r->events == ROUNDS)
        loop_stop(&loop);
    assert_int_equal(write(r->to_thread[1], "y", 1), 1);
}

static void *play_rally(void *arg)
{
    struct rally *r = arg;
    char c;

    for (int i = 0; i < ROUNDS; i++) {
        loop_post(&loop, &r->message);
        if (write(r->to_loop[1], "x", 1) != 1 || read(r->to_thread[0], &c, 1) != 1)
            break;
    }
    return NULL;
}

static void test_message_before_event(void **state)
{
    struct rally r = {.message.run = on_rally_message};
    pthread_t thread;

    (void)state;
    assert_int_equal(pipe2(r.to_loop, O_CLOEXEC), 0);
    assert_int_equal(pipe2(r.to_thread, O_CLOEXEC), 0);
    r.io = (struct io){.fd = r.to_loop[0], .on_event = on_rally_event};
    assert_true(loop_watch_level(&loop, &r.io, EPOLLIN));
    assert_int_equal(pthread_create(&thread, NULL, play_rally, &r), 0);
    run();
    pthread_join(thread, NULL);
    assert_int_equal(r.messages, ROUNDS);
    loop_unwatch(&loop, &r.io);
    for (int i = 0; i < 2; i++) {
        close(r.to_loop[i]);
        close(r.to_thread[i]);
    }
}

static void post_other(struct item *i)
{
    loop_post(&loop, &i->other->message);
}

/* From the loop's own thread, within a message: a later turn's. */
static void test_message_posts_message(void **state)
{
    struct item a, b;

    (void)state;
    item_init(&a, 'a');
    item_init(&b, 'b');
    a.then = post_other;
    a.other = &b;
    b.stops = true;
    loop_post(&loop, &a.message);
    run();
    assert_string_equal(trail, "ab");
}

/* ---- burials ------------------------------------------------------------------------------------
 */

/* What is buried while the loop is not running goes with the loop. */
static void test_burial_at_the_end(void **state)
{
    struct item *i = mem_alloc(sizeof(*i));

    (void)state;
    item_init(i, 'g');
    loop_bury(&loop, &i->grave, on_release);
    assert_string_equal(trail, "");
    loop_fini(&loop);
    assert_string_equal(trail, "g");
    assert_true(loop_init(&loop));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_order_of_a_turn),
        TEST(test_tasks),
        TEST(test_task_defers_itself),
        TEST(test_task_cancelled_by_task),
        TEST(test_stop),
        TEST(test_flush),
        TEST(test_unwatched_in_its_turn),
        TEST(test_level),
        TEST(test_edge),
        TEST(test_timers_wake),
        TEST(test_messages_of_threads),
        TEST(test_message_before_event),
        TEST(test_message_posts_message),
        TEST(test_burial_at_the_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
