/* SPDX-License-Identifier: Apache-2.0 */
/* The stream driver: pacing, chunk framing and the faults that stop a stream. */
#include "stream.h"

#include "reply.h"
#include "reqlog.h"

#include <stdlib.h>

#define BATCH 32768 /* bytes written ahead when nothing paces the stream */

void stream_start(struct conn *c, struct stream *s, int status, const char *type, int64_t length)
{
    s->framed = length == REPLY_CHUNKED && !c->http10;
    if (length == REPLY_CHUNKED && (c->fault.set & FAULT_BAD_LENGTH)) {
        s->framed = false;
        length = 1000000;
        c->after = AFTER_CUT;
    } else if (length == REPLY_CHUNKED && c->http10) {
        c->keep = false;
        c->after = AFTER_CLOSE;
    }
    reply_head(c, status, type, length);
    if (c->head_only) {
        free(s);
        return;
    }
    c->stream = s;
    s->next_at = c->w->now + c->hold_ms;
    if (!s->in_bytes) {
        stat_add(&c->w->stats.streams_started, 1);
        stat_add(&c->w->stats.streams_open, 1);
    }
}

void stream_free(struct conn *c, bool aborted)
{
    struct stream *s = c->stream;
    if (!s)
        return;
    if (!s->in_bytes) {
        stat_sub(&c->w->stats.streams_open, 1);
        stat_add(aborted ? &c->w->stats.streams_aborted : &c->w->stats.streams_done, 1);
    }
    c->stream = NULL;
    c->waiting = false;
    timers_stop(&c->w->timers, &c->timer);
    free(s);
}

static void frame_add(struct conn *c, const struct buf *piece)
{
    struct buf *out = &c->w->out;
    if (!c->stream->framed) {
        buf_add(out, piece->p, piece->n);
        return;
    }
    if (piece->n == 0)
        return; /* an empty chunk would end the body */
    buf_hex(out, piece->n);
    buf_add(out, "\r\n", 2);
    buf_add(out, piece->p, piece->n);
    buf_add(out, "\r\n", 2);
}

static void stream_end(struct conn *c)
{
    struct buf *out = &c->w->out;
    struct stream *s = c->stream;
    if (s->framed) {
        buf_str(out, "0\r\n");
        if (s->tail)
            buf_str(out, s->tail);
        buf_str(out, "\r\n");
    }
    reqlog_end(c, false);
    stream_free(c, false);
}

/* The fault's point is reached. A stall keeps the stream (its end is the client's leaving). */
static void stream_stop(struct conn *c)
{
    struct worker *w = c->w;
    if (c->fault.set & FAULT_ERROR_EVENT) {
        w->event.n = 0;
        reply_error_event(c->api, &w->event);
        frame_add(c, &w->event);
        stream_end(c);
        return;
    }
    if (c->fault.set & FAULT_STALL) {
        c->waiting = true;
        return;
    }
    c->after = c->fault.set & FAULT_CUT ? AFTER_CUT : AFTER_RST;
    reqlog_end(c, false);
    stream_free(c, false);
}

static bool stops_here(const struct conn *c)
{
    return (c->fault.set & FAULT_STOPS) && c->stream->sent >= c->fault.n;
}

void stream_run(struct conn *c)
{
    struct worker *w = c->w;
    struct stream *s = c->stream;
    while (w->out.n < BATCH) {
        if (stops_here(c)) {
            stream_stop(c);
            return;
        }
        w->event.n = 0;
        bool last = s->step(c, s, &w->event);
        if ((c->fault.set & FAULT_BAD_JSON) && !s->in_bytes && s->sent == 1) {
            w->event.n -= w->event.n / 3;
            buf_str(&w->event, "\n\n");
        }
        frame_add(c, &w->event);
        s->sent += s->in_bytes ? w->event.n : 1;
        if (!s->in_bytes) {
            c->events++;
            stat_add(&w->stats.events, 1);
        }
        if ((c->fault.set & FAULT_BAD_CHUNK) && s->framed) {
            buf_str(&w->out, "zz\r\nnot a chunk\r\n");
            c->after = AFTER_CUT;
            reqlog_end(c, false);
            stream_free(c, false);
            return;
        }
        if (last) {
            stream_end(c);
            return;
        }
        if (s->gap_ms) {
            s->next_at += s->gap_ms;
            if (s->next_at < w->now) /* late by more than a gap: do not send in bursts */
                s->next_at = w->now + s->gap_ms;
            timers_set(&w->timers, &c->timer, s->next_at);
            c->waiting = true;
            return;
        }
    }
}
