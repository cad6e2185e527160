/* SPDX-License-Identifier: Apache-2.0 */
/* Reads .proto files by recursive descent, and the outer two levels of a descriptor set. */
#include "config/proto.h"

#include "base/encode.h"

enum { DEPTH_MAX = 64 };

enum token { TOKEN_END, TOKEN_NAME, TOKEN_NUMBER, TOKEN_STRING, TOKEN_SIGN, TOKEN_BAD };

struct reader {
    struct str rest; /* behind the token */
    const char *line_start;
    unsigned line, depth;
    enum token token;
    struct str text; /* of the token; a name may have dots */
    struct arena *a;
    struct str err;
};

/* ---- Tokens ------------------------------------------------------------------------------------
 */

static bool fail(struct reader *r, const char *expected)
{
    if (r->err.p)
        return false;
    size_t column = (size_t)(r->text.p - r->line_start) + 1;
    if (r->token == TOKEN_END)
        r->err = arena_printf(r->a, "%u:%zu: %s expected, but the text ends", r->line, column,
                              expected);
    else
        r->err = arena_printf(r->a, "%u:%zu: %s expected near '%.*s'", r->line, column, expected,
                              STR_ARG(str_head(r->text, 40)));
    return false;
}

static bool is_alpha(char c)
{
    char l = ascii_lower(c);

    return (l >= 'a' && l <= 'z') || c == '_';
}

static void newline(struct reader *r, const char *at)
{
    r->line++;
    r->line_start = at + 1;
}

/* Skips blanks and comments; false: a comment that does not end. */
static bool skip(struct reader *r)
{
    while (r->rest.n > 0) {
        char c = r->rest.p[0];
        if (str_starts(r->rest, STR("//"))) {
            while (r->rest.n > 0 && r->rest.p[0] != '\n')
                r->rest = str_from(r->rest, 1);
        } else if (str_starts(r->rest, STR("/*"))) {
            ptrdiff_t end = str_search(str_from(r->rest, 2), STR("*/"));
            if (end < 0)
                return false;
            for (ptrdiff_t i = 0; i < end + 4; i++)
                if (r->rest.p[i] == '\n')
                    newline(r, r->rest.p + i);
            r->rest = str_from(r->rest, (size_t)end + 4);
        } else if (c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f' || c == '\v') {
            if (c == '\n')
                newline(r, r->rest.p);
            r->rest = str_from(r->rest, 1);
        } else {
            break;
        }
    }
    return true;
}

/* Length of the string at the front, its quotes included; 0: it does not end on its line. */
static size_t string_length(struct str s)
{
    for (size_t i = 1; i < s.n && s.p[i] != '\n'; i++) {
        if (s.p[i] == s.p[0])
            return i + 1;
        i += s.p[i] == '\\';
    }
    return 0;
}

static size_t name_length(struct str s)
{
    size_t n = s.p[0] == '.';

    while (n < s.n && (is_alpha(s.p[n]) || ascii_digit(s.p[n]) || s.p[n] == '.'))
        n++;
    return n;
}

static void next(struct reader *r)
{
    size_t n = 1;

    if (!skip(r)) {
        r->text = str_head(r->rest, 2);
        r->token = TOKEN_BAD;
        return;
    }
    r->text = str_head(r->rest, 0);
    r->token = TOKEN_END;
    if (r->rest.n == 0)
        return;
    char c = r->rest.p[0], then = r->rest.n > 1 ? r->rest.p[1] : 0;
    r->token = TOKEN_SIGN;
    if (is_alpha(c) || (c == '.' && is_alpha(then))) {
        r->token = TOKEN_NAME;
        n = name_length(r->rest);
    } else if (ascii_digit(c) || (c == '.' && ascii_digit(then))) {
        r->token = TOKEN_NUMBER;
        n = name_length(r->rest);
        char last = ascii_lower(r->rest.p[n - 1]);
        if (last == 'e' && n + 1 < r->rest.n && (r->rest.p[n] == '-' || r->rest.p[n] == '+'))
            n += name_length(str_from(r->rest, n + 1)) + 1;
    } else if (c == '"' || c == '\'') {
        n = string_length(r->rest);
        r->token = n ? TOKEN_STRING : TOKEN_BAD;
    }
    r->text = str_head(r->rest, n);
    r->rest = str_from(r->rest, n);
}

static bool is(const struct reader *r, const char *text)
{
    return (r->token == TOKEN_NAME || r->token == TOKEN_SIGN) && str_eq(r->text, str_of(text));
}

static bool take(struct reader *r, const char *text)
{
    if (!is(r, text))
        return false;
    next(r);
    return true;
}

static bool expect(struct reader *r, const char *text)
{
    return take(r, text) || fail(r, arena_printf(r->a, "'%s'", text).p);
}

static bool expect_token(struct reader *r, enum token token, const char *what)
{
    if (r->token != token)
        return fail(r, what);
    next(r);
    return true;
}

/* A name without dots. */
static bool expect_name(struct reader *r)
{
    if (r->token != TOKEN_NAME || str_find(r->text, '.') >= 0)
        return fail(r, "<name>");
    next(r);
    return true;
}

static bool expect_type(struct reader *r)
{
    if (r->token != TOKEN_NAME || str_ends(r->text, STR(".")))
        return fail(r, "<typename>");
    next(r);
    return true;
}

/* ---- Options -----------------------------------------------------------------------------------
 */

/* { name: value … }, whose grammar is that of text format: balanced braces are all that is seen. */
static bool read_aggregate(struct reader *r)
{
    unsigned open = 0;

    do {
        if (r->token == TOKEN_END || r->token == TOKEN_BAD)
            return fail(r, "'}'");
        open += is(r, "{");
        open -= is(r, "}");
        next(r);
    } while (open > 0);
    return true;
}

static bool read_constant(struct reader *r)
{
    if (is(r, "{"))
        return read_aggregate(r);
    if (r->token == TOKEN_STRING) {
        while (r->token == TOKEN_STRING)
            next(r);
        return true;
    }
    if (!take(r, "-"))
        take(r, "+");
    if (r->token != TOKEN_NUMBER && r->token != TOKEN_NAME)
        return fail(r, "<constant>");
    next(r);
    return true;
}

/* a.(b.c).d = constant */
static bool read_option_pair(struct reader *r)
{
    do {
        if (take(r, "(")) {
            if (!expect_type(r) || !expect(r, ")"))
                return false;
        } else if (!expect_token(r, TOKEN_NAME, "<option>")) {
            return false;
        }
    } while (is(r, "(") || take(r, ".") || (r->token == TOKEN_NAME && r->text.p[0] == '.'));
    return expect(r, "=") && read_constant(r);
}

/* Behind `option`. */
static bool read_option(struct reader *r)
{
    return read_option_pair(r) && expect(r, ";");
}

static bool read_field_options(struct reader *r)
{
    if (!take(r, "["))
        return true;
    do {
        if (!read_option_pair(r))
            return false;
    } while (take(r, ","));
    return expect(r, "]");
}

/* ---- Messages ----------------------------------------------------------------------------------
 */

static bool read_message(struct reader *r);

/* name = number [options] ; */
static bool read_numbered(struct reader *r)
{
    if (!expect_name(r) || !expect(r, "="))
        return false;
    take(r, "-"); /* of enums */
    return expect_token(r, TOKEN_NUMBER, "<number>") && read_field_options(r) && expect(r, ";");
}

static bool read_group(struct reader *r)
{
    return expect_name(r) && expect(r, "=") && expect_token(r, TOKEN_NUMBER, "<number>") &&
           read_field_options(r) && read_message(r);
}

static bool read_field(struct reader *r)
{
    if (!take(r, "repeated") && !take(r, "optional"))
        take(r, "required");
    if (take(r, "group"))
        return read_group(r);
    if (take(r, "map"))
        return expect(r, "<") && expect_type(r) && expect(r, ",") && expect_type(r) &&
               expect(r, ">") && read_numbered(r);
    return expect_type(r) && read_numbered(r);
}

/* reserved, extensions: numbers, ranges, names. */
static bool read_ranges(struct reader *r)
{
    do {
        take(r, "-");
        if (r->token != TOKEN_NUMBER && r->token != TOKEN_STRING && r->token != TOKEN_NAME)
            return fail(r, "<number>");
        next(r);
        if (take(r, "to")) {
            take(r, "-");
            if (!take(r, "max") && !expect_token(r, TOKEN_NUMBER, "<number>"))
                return false;
        }
    } while (take(r, ","));
    return read_field_options(r) && expect(r, ";");
}

static bool read_enum(struct reader *r)
{
    if (!expect_name(r) || !expect(r, "{"))
        return false;
    while (!take(r, "}")) {
        if (take(r, ";"))
            continue;
        if (!(take(r, "option")     ? read_option(r)
              : take(r, "reserved") ? read_ranges(r)
                                    : read_numbered(r)))
            return false;
    }
    return true;
}

/* A body of fields and options: a oneof's, an extension's. */
static bool read_fields(struct reader *r)
{
    if (!expect(r, "{"))
        return false;
    while (!take(r, "}"))
        if (!take(r, ";") && !(take(r, "option") ? read_option(r) : read_field(r)))
            return false;
    return true;
}

static bool read_member(struct reader *r)
{
    if (take(r, ";"))
        return true;
    if (take(r, "option"))
        return read_option(r);
    if (take(r, "enum"))
        return read_enum(r);
    if (take(r, "message"))
        return expect_name(r) && read_message(r);
    if (take(r, "oneof"))
        return expect_name(r) && read_fields(r);
    if (take(r, "extend"))
        return expect_type(r) && read_fields(r);
    if (take(r, "reserved") || take(r, "extensions"))
        return read_ranges(r);
    return read_field(r);
}

/* Its body. */
static bool read_message(struct reader *r)
{
    bool good = expect(r, "{");

    if (++r->depth > DEPTH_MAX)
        return fail(r, "fewer levels of messages");
    while (good && !take(r, "}"))
        good = read_member(r);
    r->depth--;
    return good;
}

/* ---- Services, files ---------------------------------------------------------------------------
 */

static bool read_rpc_side(struct reader *r)
{
    if (!expect(r, "("))
        return false;
    take(r, "stream");
    return expect_type(r) && expect(r, ")");
}

static bool read_rpc(struct reader *r)
{
    if (!expect_name(r) || !read_rpc_side(r) || !expect(r, "returns") || !read_rpc_side(r))
        return false;
    if (take(r, ";"))
        return true;
    if (!expect(r, "{"))
        return false;
    while (!take(r, "}"))
        if (!take(r, ";") && !(expect(r, "option") && read_option(r)))
            return false;
    return true;
}

static bool read_service(struct reader *r)
{
    if (!expect_name(r) || !expect(r, "{"))
        return false;
    while (!take(r, "}"))
        if (!take(r, ";") &&
            !(take(r, "option") ? read_option(r) : expect(r, "rpc") && read_rpc(r)))
            return false;
    return true;
}

static bool read_import(struct reader *r)
{
    if (!take(r, "public"))
        take(r, "weak");
    return expect_token(r, TOKEN_STRING, "<string>") && expect(r, ";");
}

static bool read_statement(struct reader *r)
{
    if (take(r, ";"))
        return true;
    if (take(r, "syntax") || take(r, "edition"))
        return expect(r, "=") && expect_token(r, TOKEN_STRING, "<string>") && expect(r, ";");
    if (take(r, "import"))
        return read_import(r);
    if (take(r, "package"))
        return expect_type(r) && expect(r, ";");
    if (take(r, "option"))
        return read_option(r);
    if (take(r, "message"))
        return expect_name(r) && read_message(r);
    if (take(r, "enum"))
        return read_enum(r);
    if (take(r, "extend"))
        return expect_type(r) && read_fields(r);
    if (take(r, "service"))
        return read_service(r);
    return fail(r, "message, enum, service, syntax, import, package or option");
}

/* ---- Descriptor sets ---------------------------------------------------------------------------
 */

static bool read_varint(struct str *s, uint64_t *out)
{
    *out = 0;
    for (unsigned shift = 0; s->n > 0 && shift < 64; shift += 7) {
        unsigned char c = (unsigned char)s->p[0];
        *s = str_from(*s, 1);
        *out |= (uint64_t)(c & 0x7f) << shift;
        if (!(c & 0x80))
            return true;
    }
    return false;
}

/* The next field of a message; content is what a length-delimited one holds. */
static bool read_wire(struct str *s, uint64_t *number, unsigned *type, struct str *content)
{
    static const size_t fixed[] = {[1] = 8, [5] = 4};
    uint64_t key, n = 0;

    if (!read_varint(s, &key) || key >> 3 == 0)
        return false;
    *number = key >> 3;
    *type = (unsigned)(key & 7);
    if (*type == 0)
        return read_varint(s, &n);
    if (*type == 1 || *type == 5)
        n = fixed[*type];
    else if (*type != 2 || !read_varint(s, &n))
        return false;
    if (n > s->n)
        return false;
    *content = str_head(*s, (size_t)n);
    *s = str_from(*s, (size_t)n);
    return true;
}

/* FileDescriptorProto: its name, package and messages are length-delimited. */
static bool file_is_good(struct str file)
{
    struct str content;
    uint64_t number;
    unsigned type;

    while (file.n > 0)
        if (!read_wire(&file, &number, &type, &content) || (number <= 2 && type != 2))
            return false;
    return true;
}

static bool is_descriptor_set(struct str content, struct arena *a)
{
    struct str bytes, file;
    uint64_t number;
    unsigned type, files = 0;

    if (!base64_decode(a, str_trim(content), &bytes))
        return false;
    while (bytes.n > 0) {
        if (!read_wire(&bytes, &number, &type, &file))
            return false;
        if (number == 1 && (type != 2 || !file_is_good(file)))
            return false;
        files += number == 1;
    }
    return files > 0;
}

bool proto_check(struct str content, struct arena *a, struct str *err)
{
    struct reader r = {.rest = content, .line_start = content.p, .line = 1, .a = a};
    bool good = true;

    next(&r);
    while (good && r.token != TOKEN_END)
        good = read_statement(&r);
    if (good || is_descriptor_set(content, a))
        return true;
    *err = r.err;
    return false;
}
