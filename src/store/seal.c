/* SPDX-License-Identifier: Apache-2.0 */
/* Seals and opens secrets with OpenSSL's ciphers. */
#include "store/seal.h"

#include <jansson.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include "base/encode.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/panic.h"
#include "base/random.h"
#include "config/key_file.h"

enum { BLOCK = 16, KEY_MAX = 32, KEY_TEXT = 2 * KEY_MAX, NONCE = 12, TAG = 16 };

/* No base64 has a brace in it, so a text of the other scheme never looks like one of these. */
#define MARK       "{eclusa:"
#define MARK_AS_IS MARK "0}" /* what follows is the text, which looks like a sealed one */
#define MARK_GCM   MARK "1}"

struct ring_key {
    unsigned char bytes[KEY_MAX];
    size_t n;
};

struct seal {
    bool on;
    bool has_own;
    unsigned char own[KEY_MAX];
    unsigned nring;
    struct ring_key ring[];
};

/* ---- Ciphers -----------------------------------------------------------------------------------
 */

struct cipher {
    const EVP_CIPHER *type;
    const unsigned char *key, *iv;
    unsigned char *tag; /* of GCM; NULL: another mode */
};

/* `out` has room for in.n and a block more. False: opening, the padding or the tag is wrong. */
static bool cipher_run(const struct cipher *c, bool sealing, struct str in, unsigned char *out,
                       size_t *n)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int body = 0, rest = 0;

    ASSERT(ctx && in.n < INT_MAX - BLOCK);
    bool good =
        EVP_CipherInit_ex(ctx, c->type, NULL, c->key, c->iv, sealing) == 1 &&
        (!c->tag || sealing || EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG, c->tag) == 1) &&
        EVP_CipherUpdate(ctx, out, &body, (const unsigned char *)in.p, (int)in.n) == 1 &&
        EVP_CipherFinal_ex(ctx, out + body, &rest) == 1 &&
        (!c->tag || !sealing || EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG, c->tag) == 1);
    EVP_CIPHER_CTX_free(ctx);
    /* What is wrong with a text must not be taken for a fault of a later TLS call. */
    if (!good)
        ERR_clear_error();
    *n = good ? (size_t)body + (size_t)rest : 0;
    return good;
}

static struct cipher cipher_ring(const struct ring_key *key)
{
    return (struct cipher){key->n == KEY_MAX ? EVP_aes_256_cbc() : EVP_aes_128_cbc(), key->bytes,
                           key->bytes, NULL};
}

static struct str base64(struct arena *a, const unsigned char *bytes, size_t n)
{
    char *text = arena_bytes(a, (n + 2) / 3 * 4 + 1);

    return str_make(text, (size_t)EVP_EncodeBlock((unsigned char *)text, bytes, (int)n));
}

/* ---- Sealing -----------------------------------------------------------------------------------
 */

static struct str close_ring(const struct ring_key *key, struct arena *a, struct str text)
{
    unsigned char *out = arena_alloc(a, text.n + BLOCK);
    struct cipher c = cipher_ring(key);
    size_t n;

    if (!cipher_run(&c, true, text, out, &n))
        PANIC("AES-CBC does not work");
    return base64(a, out, n);
}

static struct str close_own(const struct seal *s, struct arena *a, struct str text)
{
    unsigned char *out = arena_alloc(a, NONCE + text.n + BLOCK + TAG), tag[TAG];
    struct cipher c = {EVP_aes_256_gcm(), s->own, out, tag};
    size_t n;

    random_bytes(out, NONCE);
    if (!cipher_run(&c, true, text, out + NONCE, &n))
        PANIC("AES-GCM does not work");
    memcpy(out + NONCE + n, tag, TAG);
    return arena_join(a, STR(MARK_GCM), base64(a, out, NONCE + n + TAG));
}

/* ---- Opening -----------------------------------------------------------------------------------
 */

/* A wrong key's padding is right by chance once in 256 times: that such bytes are text as well, as
 * all JSON strings are, is far less likely. */
static bool is_text(struct str s)
{
    json_t *json = json_stringn(s.p, s.n);

    json_decref(json);
    return json != NULL;
}

static enum seal_status open_ring(const struct seal *s, struct arena *a, struct str stored,
                                  struct str *out)
{
    struct str sealed;

    if (!base64_decode(a, stored, &sealed) || sealed.n == 0 || sealed.n % BLOCK != 0)
        return SEAL_ODD;
    for (unsigned i = 0; i < s->nring; i++) {
        unsigned char *text = arena_alloc(a, sealed.n + BLOCK);
        struct cipher c = cipher_ring(&s->ring[i]);
        size_t n;
        if (!cipher_run(&c, false, sealed, text, &n) || !is_text(str_make((char *)text, n)))
            continue;
        *out = str_make((char *)text, n);
        return SEAL_OPENED;
    }
    return SEAL_ODD;
}

static enum seal_status open_own(const struct seal *s, struct arena *a, struct str coded,
                                 struct str *out)
{
    unsigned char tag[TAG];
    struct str sealed;
    size_t n;

    if (!s->has_own || !base64_decode(a, coded, &sealed) || sealed.n < NONCE + TAG)
        return SEAL_LOCKED;
    struct cipher c = {EVP_aes_256_gcm(), s->own, (const unsigned char *)sealed.p, tag};
    unsigned char *text = arena_alloc(a, sealed.n);
    memcpy(tag, sealed.p + sealed.n - TAG, TAG);
    if (!cipher_run(&c, false, str_make(sealed.p + NONCE, sealed.n - NONCE - TAG), text, &n))
        return SEAL_LOCKED;
    *out = str_make((char *)text, n);
    return SEAL_OPENED;
}

enum seal_status seal_open(const struct seal *s, struct arena *a, struct str stored,
                           struct str *out)
{
    *out = stored;
    if (str_starts(stored, STR(MARK_AS_IS))) {
        *out = arena_str(a, str_from(stored, sizeof(MARK_AS_IS) - 1));
        return SEAL_OPENED;
    }
    if (str_starts(stored, STR(MARK_GCM)))
        return open_own(s, a, str_from(stored, sizeof(MARK_GCM) - 1), out);
    if (str_starts(stored, STR(MARK)))
        return SEAL_LOCKED; /* by a later version */
    if (s->nring == 0)
        return SEAL_PLAIN;
    enum seal_status status = open_ring(s, a, stored, out);
    return status == SEAL_ODD && !s->on ? SEAL_PLAIN : status;
}

/* ---- Both --------------------------------------------------------------------------------------
 */

/* Left as it is, it would not come back as it is. */
static bool needs_mark(const struct seal *s, struct arena *a, struct str text)
{
    struct str out;

    return seal_open(s, a, text, &out) != SEAL_PLAIN;
}

struct str seal_close(const struct seal *s, struct arena *a, struct str text)
{
    if (!s->on)
        return needs_mark(s, a, text) ? arena_join(a, STR(MARK_AS_IS), text) : text;
    return s->nring ? close_ring(&s->ring[0], a, text) : close_own(s, a, text);
}

/* ---- Keys --------------------------------------------------------------------------------------
 */

static bool own_parse(struct seal *s, const struct key_text *text)
{
    for (size_t i = 0; i < KEY_MAX; i++) {
        int high = ascii_hex(text->p[2 * i]), low = ascii_hex(text->p[2 * i + 1]);
        if (text->n != KEY_TEXT || high < 0 || low < 0)
            return false;
        s->own[i] = (unsigned char)(high << 4 | low);
    }
    s->has_own = true;
    return true;
}

static bool own_load(struct seal *s, struct str data_dir, struct arena *a, struct str *err)
{
    struct str path = arena_printf(a, "%.*s/secret.key", STR_ARG(data_dir));
    bool needed = s->on && s->nring == 0, good = false;
    struct key_text text = {.n = 0};

    switch (key_file(path, needed ? KEY_MAX : 0, &text, a, err)) {
    case KEY_FILE_MADE:
        log_notice("made a key that seals the secrets in the store: it is in %.*s; who restores "
                   "the store from a copy needs it too",
                   STR_ARG(path));
        good = own_parse(s, &text);
        break;
    case KEY_FILE_READ:
        good = own_parse(s, &text);
        if (!good)
            *err = arena_printf(a, "%.*s does not hold a key (%d hex digits)", STR_ARG(path),
                                KEY_TEXT);
        break;
    case KEY_FILE_NONE:
        good = true;
        break;
    case KEY_FILE_FAILED:
        break;
    }
    explicit_bzero(&text, sizeof(text));
    return good;
}

struct seal *seal_new(const struct seal_config *config, struct arena *a, struct str *err)
{
    struct seal *s = mem_zero(sizeof(*s) + config->nring * sizeof(s->ring[0]));

    s->on = config->on;
    s->nring = config->nring;
    for (unsigned i = 0; i < s->nring; i++) {
        ASSERT(config->ring[i].n == BLOCK || config->ring[i].n == KEY_MAX);
        memcpy(s->ring[i].bytes, config->ring[i].p, config->ring[i].n);
        s->ring[i].n = config->ring[i].n;
    }
    if (own_load(s, config->data_dir, a, err))
        return s;
    seal_free(s);
    return NULL;
}

void seal_free(struct seal *s)
{
    explicit_bzero(s, sizeof(*s) + s->nring * sizeof(s->ring[0]));
    free(s);
}
