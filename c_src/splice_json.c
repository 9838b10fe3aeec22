/* Owns the walk over JSON text; knows nothing of what its values mean. */
#include <string.h>

#include "splice.h"

struct scanner {
    const uint8_t *data;
    size_t len;
    size_t at;
    size_t depth;
    uint8_t maps[SMX_SPLICE_LEVELS / 8]; /* a bit for each open container: it is a map */
};

static uint8_t peek(const struct scanner *scanner)
{
    return scanner->at < scanner->len ? scanner->data[scanner->at] : 0;
}

static void skip_space(struct scanner *scanner)
{
    for (; scanner->at < scanner->len; scanner->at++) {
        uint8_t byte = scanner->data[scanner->at];
        if (byte != ' ' && byte != '\n' && byte != '\r' && byte != '\t')
            return;
    }
}

static bool take(struct scanner *scanner, char wanted)
{
    if (peek(scanner) != (uint8_t)wanted)
        return false;
    scanner->at++;
    return true;
}

static bool take_word(struct scanner *scanner, const char *word)
{
    size_t len = strlen(word);
    if (scanner->len - scanner->at < len || memcmp(scanner->data + scanner->at, word, len) != 0)
        return false;
    scanner->at += len;
    return true;
}

static bool take_digits(struct scanner *scanner)
{
    size_t start = scanner->at;
    while (peek(scanner) >= '0' && peek(scanner) <= '9')
        scanner->at++;
    return scanner->at > start;
}

static bool take_number(struct scanner *scanner)
{
    take(scanner, '-');
    if (!take(scanner, '0') && !take_digits(scanner))
        return false;
    if (take(scanner, '.') && !take_digits(scanner))
        return false;
    if (peek(scanner) == 'e' || peek(scanner) == 'E') {
        scanner->at++;
        if (!take(scanner, '+'))
            take(scanner, '-');
        return take_digits(scanner);
    }
    return true;
}

/* The code unit of four hexadecimal digits, or -1. */
static int32_t take_unit(struct scanner *scanner)
{
    if (scanner->len - scanner->at < 4)
        return -1;
    scanner->at += 4;
    return smx_hex4(scanner->data + scanner->at - 4);
}

/* Behind a backslash: the code point, or -1. */
static int32_t take_escape(struct scanner *scanner)
{
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    uint8_t letter = peek(scanner);
    const char *found = letter ? strchr(letters, letter) : NULL;
    scanner->at++;
    if (found)
        return meanings[found - letters];
    if (letter != 'u')
        return -1;
    int32_t high = take_unit(scanner);
    if (high < 0xd800 || high > 0xdfff)
        return high;
    int32_t low = high <= 0xdbff && take_word(scanner, "\\u") ? take_unit(scanner) : -1;
    return low < 0xdc00 || low > 0xdfff ? -1 : 0x10000 + (high - 0xd800) * 0x400 + low - 0xdc00;
}

/* Bytes of plain ASCII text, eight at a time: most of a large string is. */
static void skip_plain(struct scanner *scanner)
{
    const uint64_t ones = 0x0101010101010101, tops = 0x8080808080808080;
    while (scanner->len - scanner->at >= sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, scanner->data + scanner->at, sizeof(word));
        uint64_t quote = word ^ ones * '"', backslash = word ^ ones * '\\';
        uint64_t odd = word | (word - ones * ' ') | ((quote - ones) & ~quote) | ((backslash - ones) & ~backslash);
        if (odd & tops)
            return;
        scanner->at += sizeof(word);
    }
}

/* A run of text up to a quote or a backslash. */
static bool skip_text(struct scanner *scanner)
{
    size_t wide = SIZE_MAX; /* where the first byte is that is not ASCII */
    for (;;) {
        if (wide == SIZE_MAX)
            skip_plain(scanner);
        uint8_t byte = peek(scanner);
        if (byte < ' ')
            return false; /* a control character, or the end */
        if (byte == '"' || byte == '\\')
            break;
        if (byte >= 0x80 && wide == SIZE_MAX)
            wide = scanner->at;
        scanner->at++;
    }
    return wide == SIZE_MAX || smx_utf8_valid((struct smx_span){scanner->data + wide, scanner->at - wide}, true);
}

static bool take_string(struct scanner *scanner)
{
    if (!take(scanner, '"'))
        return false;
    while (skip_text(scanner)) {
        if (take(scanner, '"'))
            return true;
        scanner->at++;
        if (take_escape(scanner) < 0)
            return false;
    }
    return false;
}

static bool take_key(struct scanner *scanner)
{
    skip_space(scanner);
    if (!take_string(scanner))
        return false;
    skip_space(scanner);
    return take(scanner, ':');
}

static bool is_map(const struct scanner *scanner)
{
    size_t level = scanner->depth - 1;
    return scanner->maps[level / 8] >> level % 8 & 1;
}

/* `*whole` when the value ends here; a container with something in it is open after this. */
static bool open_container(struct scanner *scanner, bool map, bool *whole)
{
    size_t level = scanner->depth++;
    if (level == SMX_SPLICE_LEVELS)
        return false;
    unsigned bit = 1U << level % 8, others = level % 8 == 0 ? 0 : scanner->maps[level / 8] & ~bit;
    scanner->maps[level / 8] = (uint8_t)(map ? others | bit : others);
    skip_space(scanner);
    *whole = take(scanner, map ? '}' : ']');
    scanner->depth -= *whole;
    return *whole || !map || take_key(scanner);
}

/* A scalar, an empty container, or the start of another one. */
static bool start_value(struct scanner *scanner, bool *whole)
{
    skip_space(scanner);
    *whole = true;
    switch (peek(scanner)) {
    case '{':
    case '[':
        scanner->at++;
        return open_container(scanner, scanner->data[scanner->at - 1] == '{', whole);
    case '"':
        return take_string(scanner);
    case 't':
        return take_word(scanner, "true");
    case 'f':
        return take_word(scanner, "false");
    case 'n':
        return take_word(scanner, "null");
    }
    return take_number(scanner);
}

/* After a value: closes what ends here, up to a comma. */
static bool end_value(struct scanner *scanner)
{
    while (scanner->depth > 0) {
        bool map = is_map(scanner);
        skip_space(scanner);
        if (take(scanner, ','))
            return !map || take_key(scanner);
        if (!take(scanner, map ? '}' : ']'))
            return false;
        scanner->depth--;
    }
    return true;
}

/* Without recursion: nobody's nesting reaches our stack. */
static bool skip_value(struct scanner *scanner)
{
    bool whole;
    do {
        if (!start_value(scanner, &whole) || (whole && !end_value(scanner)))
            return false;
    } while (scanner->depth > 0);
    return true;
}

bool smx_splice_json_skip(struct smx_span text, size_t *at)
{
    struct scanner scanner;
    scanner.data = text.data;
    scanner.len = text.len;
    scanner.at = *at;
    scanner.depth = 0;
    if (!skip_value(&scanner))
        return false;
    skip_space(&scanner);
    *at = scanner.at;
    return true;
}

static void put_code_point(struct smx_buffer *out, int32_t point)
{
    uint8_t bytes[4];
    size_t len = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    for (size_t i = len; i-- > 1; point >>= 6)
        bytes[i] = (uint8_t)(0x80 | (point & 0x3f));
    bytes[0] = (uint8_t)(len == 1 ? point : (0xf00 >> len & 0xff) | point);
    smx_buffer_append(out, bytes, len);
}

bool smx_splice_json_text(struct smx_span value, struct smx_buffer *out)
{
    struct scanner scanner;
    scanner.data = value.data;
    scanner.len = value.len;
    scanner.at = 0;
    if (!take(&scanner, '"'))
        return false;
    for (size_t start = 1; skip_text(&scanner); start = scanner.at) {
        smx_buffer_append(out, scanner.data + start, scanner.at - start);
        if (take(&scanner, '"'))
            return true;
        scanner.at++;
        int32_t point = take_escape(&scanner);
        if (point < 0)
            return false;
        put_code_point(out, point);
    }
    return false;
}

/* The text of a string that stands between `start` and `end`, quotes included. */
static bool read_key(const struct scanner *scanner, size_t start, size_t end, struct smx_values *pairs,
                     struct smx_span *key)
{
    struct smx_span quoted = {scanner->data + start, end - start};
    *key = (struct smx_span){quoted.data + 1, quoted.len - 2};
    if (memchr(key->data, '\\', key->len)) {
        /* Text is never longer than its escapes, so one reservation serves all keys and nothing moves. */
        smx_buffer_reserve(&pairs->bytes, scanner->len - pairs->bytes.len);
        size_t before = pairs->bytes.len;
        smx_splice_json_text(quoted, &pairs->bytes);
        *key = (struct smx_span){pairs->bytes.data + before, pairs->bytes.len - before};
    }
    return !key->len || !memchr(key->data, 0, key->len);
}

static void add_pair(struct smx_values *pairs, struct smx_pair pair)
{
    if ((pairs->count & (pairs->count - 1)) == 0) /* full at every power of two */
        pairs->items = smx_realloc(pairs->items, (pairs->count ? 2 * pairs->count : 1) * sizeof(pair));
    pairs->items[pairs->count++] = pair;
}

bool smx_splice_json_map(struct smx_span text, struct smx_values *pairs)
{
    struct scanner scanner;
    scanner.data = text.data;
    scanner.len = text.len;
    scanner.at = 0;
    scanner.depth = 0;
    skip_space(&scanner);
    if (!take(&scanner, '{'))
        return false;
    skip_space(&scanner);
    for (bool more = peek(&scanner) != '}'; more; more = take(&scanner, ',')) {
        struct smx_pair pair;
        skip_space(&scanner);
        size_t start = scanner.at;
        if (!take_string(&scanner) || !read_key(&scanner, start, scanner.at, pairs, &pair.key))
            return false;
        skip_space(&scanner);
        if (!take(&scanner, ':'))
            return false;
        skip_space(&scanner);
        start = scanner.at;
        if (!skip_value(&scanner))
            return false;
        pair.value = (struct smx_span){scanner.data + start, scanner.at - start};
        add_pair(pairs, pair);
        skip_space(&scanner);
    }
    if (!take(&scanner, '}'))
        return false;
    skip_space(&scanner);
    return scanner.at == scanner.len;
}
