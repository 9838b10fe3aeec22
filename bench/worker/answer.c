/*
 * Owns the commands of the benchmark's worker: echo and blob, chunks and hold.
 * Must not know calls, queues or connections.
 */
#include "answer.h"

#include "wire.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

const char *answer_codecs = "json";

enum { SMALL = 4096, MAX_SLICES = 16, MAX_VALUE = 512 << 20 };

/* What all requests have in common, borrowed from the slice. */
struct request {
    grpc_slice slice;
    struct wire_field command;
    struct wire_field request_id;
    uint64_t count;
    uint64_t size;
};

static uint64_t requests_handled;
static uint64_t started_ms;

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void answer_start(void)
{
    started_ms = clock_ns(CLOCK_MONOTONIC) / 1000000 - 1; /* an uptime of 0 would mean that it is not known */
}

static uint64_t parse_number(const uint8_t *data, size_t len)
{
    uint64_t number = 0;
    for (size_t i = 0; i < len && data[i] >= '0' && data[i] <= '9' && number < UINT32_MAX; i++)
        number = number * 10 + (uint64_t)(data[i] - '0');
    return number;
}

static void read_argument(struct request *request, struct wire_field entry)
{
    struct wire_reader reader = {entry.data, entry.data + entry.len};
    struct wire_field field, key = {0}, value = {0};
    while (wire_next(&reader, &field))
        *(field.number == 1 ? &key : &value) = field;
    if (key.len == 5 && memcmp(key.data, "count", 5) == 0)
        request->count = parse_number(value.data, value.len);
    else if (key.len == 4 && memcmp(key.data, "size", 4) == 0)
        request->size = parse_number(value.data, value.len);
}

static struct wire_reader reader_of(grpc_slice *slice)
{
    return (struct wire_reader){GRPC_SLICE_START_PTR(*slice), GRPC_SLICE_END_PTR(*slice)};
}

/* Initialises the request even when it returns false. */
static bool request_init(struct request *request, grpc_byte_buffer *bytes)
{
    *request = (struct request){.slice = grpc_empty_slice()};
    grpc_byte_buffer_reader reader;
    if (!bytes || !grpc_byte_buffer_reader_init(&reader, bytes))
        return false;
    request->slice = grpc_byte_buffer_reader_readall(&reader);
    grpc_byte_buffer_reader_destroy(&reader);
    struct wire_reader fields = reader_of(&request->slice);
    struct wire_field field;
    while (wire_next(&fields, &field)) {
        if (field.number == 1 && field.type == WIRE_BYTES)
            request->command = field;
        else if (field.number == 2 && field.type == WIRE_BYTES && field.len < 64)
            read_argument(request, field);
        else if (field.number == 4 && field.type == WIRE_BYTES)
            request->request_id = field;
    }
    return fields.at == fields.end;
}

static void request_fini(struct request *request)
{
    grpc_slice_unref(request->slice);
}

static bool is_command(const struct request *request, const char *name)
{
    return request->command.len == strlen(name) && memcmp(request->command.data, name, strlen(name)) == 0;
}

static grpc_byte_buffer *buffer_of(grpc_slice *slices, size_t count)
{
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(slices, count);
    for (size_t i = 0; i < count; i++)
        grpc_slice_unref(slices[i]);
    return buffer;
}

/* An ExecuteResponse of success: `result` slices (whole fields), then timestamp and request id. Takes the slices. */
static grpc_byte_buffer *succeed(const struct request *request, grpc_slice *slices, size_t count)
{
    uint8_t head[WIRE_MAX_HEAD];
    size_t head_len = (size_t)(wire_put_varint(head, 1, 1) - head);
    slices[0] = grpc_slice_from_copied_buffer((const char *)head, head_len);
    grpc_slice tail = grpc_slice_malloc(2 * WIRE_MAX_HEAD + request->request_id.len);
    uint8_t *at = wire_put_varint(GRPC_SLICE_START_PTR(tail), 4, clock_ns(CLOCK_REALTIME));
    at = wire_put_bytes(at, 5, request->request_id.data, request->request_id.len);
    GRPC_SLICE_SET_LENGTH(tail, (size_t)(at - GRPC_SLICE_START_PTR(tail)));
    slices[count++] = tail;
    return buffer_of(slices, count);
}

/* Field 2 is `args` in the request and `result` in the response: its entries go back as they came, uncopied. */
static grpc_byte_buffer *echo(struct request *request)
{
    grpc_slice slices[MAX_SLICES];
    size_t count = 1;
    struct wire_reader reader = reader_of(&request->slice);
    const uint8_t *base = reader.at;
    struct wire_field field;
    size_t begin = 0, end = 0;
    while (wire_next(&reader, &field)) {
        if (field.number != 2)
            continue;
        size_t start = (size_t)(field.start - base);
        if (start != end && end > begin) {
            if (count == MAX_SLICES - 2)
                break; /* arguments that don't stand together: no encoder that we know does this */
            slices[count++] = grpc_slice_sub(request->slice, begin, end);
        }
        if (start != end || end == 0)
            begin = start;
        end = (size_t)(reader.at - base);
    }
    if (end > begin)
        slices[count++] = grpc_slice_sub(request->slice, begin, end);
    return succeed(request, slices, count);
}

/*
 * A map entry data => a JSON string, which `raw` callers see as bytes. The value is shared, not copied: thousands of
 * large answers of one size that wait for a slow client take the memory of one.
 */
static grpc_slice json_text(uint64_t size)
{
    static grpc_slice last;
    size_t len = size < 2 ? 2 : size > MAX_VALUE ? MAX_VALUE : size;
    if (GRPC_SLICE_LENGTH(last) == len)
        return grpc_slice_ref(last);
    grpc_slice slice = grpc_slice_malloc_large(len);
    memset(GRPC_SLICE_START_PTR(slice), 'x', len);
    GRPC_SLICE_START_PTR(slice)[0] = GRPC_SLICE_START_PTR(slice)[len - 1] = '"';
    grpc_slice_unref(last);
    last = grpc_slice_ref(slice);
    return slice;
}

static grpc_slice entry_head(size_t value_len)
{
    uint8_t head[4 * WIRE_MAX_HEAD];
    size_t key_len = wire_head_len(1, 4) + 4;
    uint8_t *at = wire_put_head(head, 2, key_len + wire_head_len(2, value_len) + value_len);
    at = wire_put_head(wire_put_bytes(at, 1, "data", 4), 2, value_len);
    return grpc_slice_from_copied_buffer((const char *)head, (size_t)(at - head));
}

static grpc_byte_buffer *blob(struct request *request)
{
    grpc_slice slices[4];
    slices[2] = json_text(request->size);
    slices[1] = entry_head(GRPC_SLICE_LENGTH(slices[2]));
    return succeed(request, slices, 3);
}

static grpc_byte_buffer *refuse(const struct request *request)
{
    uint8_t bytes[256];
    static const char text[] = "the commands are echo and blob {size}; streams: chunks and hold {count, size}";
    uint8_t *at = wire_put_bytes(bytes, 3, text, sizeof(text) - 1);
    if (request->request_id.len < 100)
        at = wire_put_bytes(at, 5, request->request_id.data, request->request_id.len);
    grpc_slice slice = grpc_slice_from_copied_buffer((const char *)bytes, (size_t)(at - bytes));
    return buffer_of(&slice, 1);
}

grpc_byte_buffer *answer_execute(grpc_byte_buffer *bytes)
{
    struct request request;
    grpc_byte_buffer *answer = NULL;
    requests_handled++;
    if (request_init(&request, bytes))
        answer = is_command(&request, "echo")   ? echo(&request)
                 : is_command(&request, "blob") ? blob(&request)
                                                : refuse(&request);
    request_fini(&request);
    return answer;
}

grpc_byte_buffer *answer_health(grpc_byte_buffer *request)
{
    (void)request;
    uint8_t bytes[128];
    uint8_t *at = wire_put_varint(bytes, 1, 1);
    at = wire_put_varint(at, 3, clock_ns(CLOCK_MONOTONIC) / 1000000 - started_ms);
    at = wire_put_varint(at, 4, requests_handled);
    at = wire_put_bytes(at, 6, "bench", 5);
    grpc_slice slice = grpc_slice_from_copied_buffer((const char *)bytes, (size_t)(at - bytes));
    return buffer_of(&slice, 1);
}

static uint8_t *put_capability(uint8_t *at, const char *key, const char *value)
{
    size_t len = wire_head_len(1, strlen(key)) + strlen(key) + wire_head_len(2, strlen(value)) + strlen(value);
    at = wire_put_head(at, 4, len);
    return wire_put_bytes(wire_put_bytes(at, 1, key, strlen(key)), 2, value, strlen(value));
}

grpc_byte_buffer *answer_info(grpc_byte_buffer *request)
{
    static const char *const commands[] = {"echo", "blob", "chunks", "hold"};
    (void)request;
    uint8_t bytes[1024];
    uint8_t *at = wire_put_bytes(bytes, 1, "bench", 5);
    at = wire_put_bytes(at, 2, "1", 1);
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        at = wire_put_bytes(at, 3, commands[i], strlen(commands[i]));
    if (answer_codecs[0])
        at = put_capability(at, "codecs", answer_codecs);
    at = put_capability(at, "max_concurrent", "1000000");
    grpc_slice slice = grpc_slice_from_copied_buffer((const char *)bytes, (size_t)(at - bytes));
    return buffer_of(&slice, 1);
}

bool chunks_init(struct chunks *chunks, grpc_byte_buffer *bytes)
{
    struct request request;
    bool known = request_init(&request, bytes) && (is_command(&request, "chunks") || is_command(&request, "hold"));
    *chunks = (struct chunks){.endless = known && is_command(&request, "hold"),
                              .left = known ? request.count : 0,
                              .head = grpc_empty_slice(),
                              .value = grpc_empty_slice()};
    if (chunks->left > 0) {
        chunks->value = json_text(request.size);
        chunks->head = entry_head(GRPC_SLICE_LENGTH(chunks->value));
    }
    requests_handled++;
    request_fini(&request);
    return known;
}

void chunks_fini(struct chunks *chunks)
{
    grpc_slice_unref(chunks->head);
    grpc_slice_unref(chunks->value);
}

grpc_byte_buffer *chunks_next(struct chunks *chunks)
{
    uint8_t tail[WIRE_MAX_HEAD];
    size_t tail_len = (size_t)(wire_put_varint(tail, 6, chunks->index) - tail);
    size_t head_len = GRPC_SLICE_LENGTH(chunks->head);
    size_t value_len = GRPC_SLICE_LENGTH(chunks->value);
    chunks->index++;
    chunks->left--;
    if (value_len > SMALL) {
        grpc_slice slices[] = {grpc_slice_ref(chunks->head), grpc_slice_ref(chunks->value),
                               grpc_slice_from_copied_buffer((const char *)tail, tail_len)};
        return buffer_of(slices, 3);
    }
    /* One small slice is cheaper on its way than three. */
    grpc_slice slice = grpc_slice_malloc(head_len + value_len + tail_len);
    uint8_t *at = GRPC_SLICE_START_PTR(slice);
    memcpy(at, GRPC_SLICE_START_PTR(chunks->head), head_len);
    memcpy(at + head_len, GRPC_SLICE_START_PTR(chunks->value), value_len);
    memcpy(at + head_len + value_len, tail, tail_len);
    return buffer_of(&slice, 1);
}
