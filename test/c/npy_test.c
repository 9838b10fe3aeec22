/* npy.c: what NumPy writes is read, what it would not write is refused, and what is written begins where it should. */
#include "npy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

#define HEADER(dtype, shape) "{'descr': '" dtype "', 'fortran_order': False, 'shape': " shape ", }\n"

/* A file with this header and so many bytes of data behind it. */
static void put_file(struct smx_buffer *file, const char *header, size_t data)
{
    size_t len = strlen(header);
    smx_buffer_append(file, "\x93NUMPY\1\0", 8);
    smx_buffer_append(file, (const uint8_t[]){(uint8_t)len, (uint8_t)(len >> 8)}, 2);
    smx_buffer_append(file, header, len);
    for (; data > 0; data--)
        smx_buffer_append(file, "\7", 1);
}

/* "f32 [2,3] 24", or "!" and the fault. The file stands at the end of its memory. */
static const char *read_file(struct smx_span file)
{
    static struct smx_buffer text;
    struct smx_npy array;
    char fault[SMX_NPY_FAULT_SIZE];
    uint8_t *copy = malloc(file.len ? file.len : 1);
    assert_non_null(copy);
    if (file.len > 0)
        memcpy(copy, file.data, file.len);
    text.len = 0;
    if (smx_npy_read((struct smx_span){copy, file.len}, &array, fault)) {
        smx_buffer_printf(&text, "%s%d [", array.type->kind, array.type->bits);
        for (size_t i = 0; i < array.rank; i++)
            smx_buffer_printf(&text, "%s%llu", i > 0 ? "," : "", (unsigned long long)array.shape[i]);
        smx_buffer_printf(&text, "] %zu", array.data.len);
        assert_ptr_equal(array.data.data + array.data.len, copy + file.len);
    } else {
        smx_buffer_printf(&text, "!%s", fault);
    }
    free(copy);
    return test_text(&text);
}

static const char *read_header(const char *header, size_t data)
{
    struct smx_buffer file = {0};
    put_file(&file, header, data);
    const char *text = read_file(smx_buffer_span(&file));
    smx_buffer_fini(&file);
    return text;
}

static void every_type_of_plain_numbers_is_read(void **state)
{
    (void)state;
    static const struct {
        const char *header, *array;
        size_t data;
    } cases[] = {
        {HEADER("|b1", "(3,)"), "u8 [3] 3", 3},
        {HEADER("|i1", "(3,)"), "s8 [3] 3", 3},
        {HEADER("|u1", "(3,)"), "u8 [3] 3", 3},
        {HEADER("<i2", "(3,)"), "s16 [3] 6", 6},
        {HEADER("<u2", "(3,)"), "u16 [3] 6", 6},
        {HEADER("<i4", "(2, 3)"), "s32 [2,3] 24", 24},
        {HEADER("<u4", "(2, 3)"), "u32 [2,3] 24", 24},
        {HEADER("<i8", "(1, 1, 1)"), "s64 [1,1,1] 8", 8},
        {HEADER("<u8", "()"), "u64 [] 8", 8},
        {HEADER("<f2", "()"), "f16 [] 2", 2},
        {HEADER("<f4", "(0,)"), "f32 [0] 0", 0},
        {HEADER("<f8", "(2, 0, 3)"), "f64 [2,0,3] 0", 0},
        {HEADER("<c8", "(1,)"), "c64 [1] 8", 8},
        {HEADER("<c16", "(1,)"), "c128 [1] 16", 16},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2)}   \n", "f32 [1,2] 8", 8},
        {"{'descr':'<f4','fortran_order':False,'shape':(1,2)}\n", "f32 [1,2] 8", 8},
        {"{ 'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }\n", "f32 [1,2] 8", 8},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_string_equal(read_header(cases[i].header, cases[i].data), cases[i].array);
}

static void what_is_not_plain_numbers_is_a_fault(void **state)
{
    (void)state;
    static const char *const header = "!an array's .npy header doesn't describe plain numbers";
    static const struct {
        const char *header, *fault;
        size_t data;
    } cases[] = {
        {HEADER(">f4", "(1,)"), "!an array of dtype >f4 isn't little-endian numbers in C order", 4},
        {HEADER("|O", "(1,)"), "!an array of dtype |O isn't little-endian numbers in C order", 8},
        {HEADER("<f16", "(1,)"), "!an array of dtype <f16 isn't little-endian numbers in C order", 16},
        {HEADER("<M8[ns]", "(1,)"), "!an array of dtype <M8[ns] isn't little-endian numbers in C order", 8},
        {HEADER("", "(1,)"), "!an array of dtype  isn't little-endian numbers in C order", 8},
        {"{'descr': '<f4', 'fortran_order': True, 'shape': (1,), }\n",
         "!an array of dtype <f4 in Fortran order isn't little-endian numbers in C order", 4},
        {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }\n", header, 4},
        {HEADER("<f4aaaaaaaaaaa", "(1,)"), header, 4},
        {HEADER("<f4", "(-1,)"), header, 4},
        {HEADER("<f4", "(1 1)"), header, 4},
        {HEADER("<f4", "(1,,)"), header, 4},
        {HEADER("<f4", "(,)"), header, 4},
        {HEADER("<f4", "(1"), header, 4},
        {HEADER("<f4", "1"), header, 4},
        {HEADER("<f4", "(9223372036854775808,)"), header, 0},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", header, 4},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }\n\n", header, 4},
        {"{'descr': '<f4', 'fortran_order': 0, 'shape': (1,), }\n", header, 4},
        {"{'shape': (1,), 'descr': '<f4', 'fortran_order': False, }\n", header, 4},
        {"\n", header, 0},
        {"", header, 0},
        {HEADER("<f4", "(2, 3)"), "!an array has 23 bytes, but its type and shape make 24", 23},
        {HEADER("<f4", "(2, 3)"), "!an array has 25 bytes, but its type and shape make 24", 25},
        {HEADER("<f4", "()"), "!an array has 0 bytes, but its type and shape make 4", 0},
        {HEADER("<f4", "(0, 5)"), "!an array has 1 bytes, but its type and shape make 0", 1},
        {HEADER("<f8", "(2147483648, 2147483648)"), "!an array has a shape of more than 2^63 bytes", 0},
        {HEADER("<f8", "(0, 9223372036854775807, 2)"), "!an array has a shape of more than 2^63 bytes", 0},
        {HEADER("|u1", "(9223372036854775807,)"),
         "!an array has 9 bytes, but its type and shape make 9223372036854775807", 9},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_string_equal(read_header(cases[i].header, cases[i].data), cases[i].fault);
}

static void a_shape_has_64_numbers_at_most(void **state)
{
    (void)state;
    for (size_t rank = 64; rank <= 65; rank++) {
        struct smx_buffer header = {0};
        smx_buffer_printf(&header, "{'descr': '<f4', 'fortran_order': False, 'shape': (");
        for (size_t i = 0; i < rank; i++)
            smx_buffer_printf(&header, "1, ");
        smx_buffer_printf(&header, "), }\n");
        assert_int_equal(read_header(test_text(&header), 4)[0] == '!', rank == 65);
        smx_buffer_fini(&header);
    }
}

static void a_truncated_file_is_a_fault(void **state)
{
    (void)state;
    struct smx_buffer file = {0};
    put_file(&file, HEADER("<f4", "(2, 3)"), 24);
    for (size_t len = 0; len < file.len; len++)
        assert_int_equal(read_file((struct smx_span){file.data, len})[0], '!');
    file.data[6] = 2; /* the version */
    assert_string_equal(read_file(smx_buffer_span(&file)), "!an array isn't a .npy file of version 1.0");
    file.data[6] = 1;
    file.data[9] = 255; /* the header is longer than the file */
    assert_string_equal(read_file(smx_buffer_span(&file)), "!an array's .npy header doesn't describe plain numbers");
    smx_buffer_fini(&file);
}

static void what_is_written_is_read_and_its_data_are_aligned(void **state)
{
    (void)state;
    static const char *const kinds[] = {"s", "u", "f", "c"};
    for (size_t i = 0; i < 4 * 8 * 70; i++) {
        const struct smx_npy_type *type = smx_npy_type_of(kinds[i % 4], 8U << i / 4 % 8);
        if (!type)
            continue;
        uint8_t data[16] = {1, 2, 3};
        struct smx_npy array = {type, i / 32 % 65, {0}, {data, type->bits / 8U}};
        for (size_t j = 0; j < array.rank; j++)
            array.shape[j] = 1;
        struct smx_buffer file = {0};
        smx_npy_write(&array, i % 7, &file);
        struct smx_npy again;
        char fault[SMX_NPY_FAULT_SIZE];
        assert_true(smx_npy_read(smx_buffer_span(&file), &again, fault));
        assert_ptr_equal(again.type, type);
        assert_int_equal(again.rank, array.rank);
        assert_memory_equal(again.shape, array.shape, array.rank * sizeof(array.shape[0]));
        assert_memory_equal(again.data.data, data, type->bits / 8U);
        assert_int_equal(((size_t)(again.data.data - file.data) + i % 7) % 64, 0);
        smx_buffer_fini(&file);
    }
}

static void the_longest_header_fits(void **state)
{
    (void)state;
    struct smx_npy array = {smx_npy_type_of("c", 128), SMX_NPY_MAX_RANK, {0}, {(const uint8_t *)"", 0}};
    for (size_t i = 1; i < array.rank; i++)
        array.shape[i] = INT64_MAX;
    struct smx_buffer file = {0};
    smx_npy_write(&array, 0, &file);
    assert_string_equal(read_file(smx_buffer_span(&file)), "!an array has a shape of more than 2^63 bytes");
    smx_buffer_fini(&file);
}

static void numpy_has_no_other_types(void **state)
{
    (void)state;
    static const struct {
        const char *kind;
        uint64_t bits;
    } cases[] = {{"bf", 16}, {"f", 8}, {"s", 4}, {"u", 2}, {"c", 32}, {"f", 128}, {"s", 128}, {"u", 264}, {"", 8}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_null(smx_npy_type_of(cases[i].kind, cases[i].bits));
    assert_string_equal(smx_npy_type_of("u", 8)->dtype, "|u1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_of_plain_numbers_is_read),
        cmocka_unit_test(what_is_not_plain_numbers_is_a_fault),
        cmocka_unit_test(a_shape_has_64_numbers_at_most),
        cmocka_unit_test(a_truncated_file_is_a_fault),
        cmocka_unit_test(what_is_written_is_read_and_its_data_are_aligned),
        cmocka_unit_test(the_longest_header_fits),
        cmocka_unit_test(numpy_has_no_other_types),
    };
    return cmocka_run_group_tests_name("npy", tests, NULL, NULL);
}
