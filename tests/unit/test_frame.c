#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pawl/v1/frame.h"

#include <stdlib.h>
#include <string.h>

static void a_whole_frame_gives_its_message(void **state)
{
    const uint8_t data[] = { 0, 0, 0, 2, 'a', 'b', 0, 0 };
    struct pawl_bytes message = { NULL, 0 };

    (void)state;
    assert_int_equal(pawl_frame_next(data, 6, PAWL_REQUEST_BYTES_MAX, &message, NULL), PAWL_OK);
    assert_ptr_equal(message.data, data + 4);
    assert_int_equal(message.size, 2);
    assert_int_equal(pawl_frame_next(data, 8, PAWL_REQUEST_BYTES_MAX, &message, NULL), PAWL_OK);
    assert_int_equal(message.size, 2);
}

static void a_frame_cut_anywhere_asks_for_what_it_takes(void **state)
{
    const uint8_t data[] = { 0, 0, 0, 3, 'a', 'b', 'c' };
    struct pawl_bytes message;

    (void)state;
    for (size_t size = 0; size < sizeof(data); size++) {
        uint8_t *copy = malloc(size + 1);
        size_t needed = 99;

        assert_non_null(copy);
        memcpy(copy + 1, data, size);
        assert_int_equal(pawl_frame_next(copy + 1, size, 100, &message, &needed), PAWL_EAGAIN);
        assert_int_equal(needed, size < 4 ? 4 : 7);
        assert_int_equal(pawl_frame_next(copy + 1, size, 100, &message, NULL), PAWL_EAGAIN);
        free(copy);
    }
}

static void the_largest_message_passes_and_one_byte_more_is_refused_from_its_header(void **state)
{
    static const size_t caps[] = { PAWL_REQUEST_BYTES_MAX, PAWL_REPLY_BYTES_MAX };

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        uint8_t *data = calloc(1, PAWL_FRAME_HEADER_BYTES + caps[i]);
        struct pawl_bytes message = { NULL, 0 };

        assert_non_null(data);
        pawl_frame_header(data, caps[i]);
        assert_int_equal(pawl_frame_next(data, 4 + caps[i], caps[i], &message, NULL), PAWL_OK);
        assert_int_equal(message.size, caps[i]);
        assert_int_equal(pawl_frame_next(data, 3 + caps[i], caps[i], &message, NULL), PAWL_EAGAIN);
        pawl_frame_header(data, caps[i] + 1);
        assert_int_equal(pawl_frame_next(data, 4, caps[i], &message, NULL), PAWL_ETOOBIG);
        free(data);
    }
}

static void a_length_of_four_gigabytes_does_not_wrap(void **state)
{
    const uint8_t data[] = { 0xff, 0xff, 0xff, 0xff, 0 };
    struct pawl_bytes message;
    size_t needed = 0;

    (void)state;
    assert_int_equal(pawl_frame_next(data, 5, PAWL_REQUEST_BYTES_MAX, &message, NULL),
                     PAWL_ETOOBIG);
    assert_int_equal(pawl_frame_next(data, 5, SIZE_MAX / 2, &message, &needed), PAWL_EAGAIN);
    assert_int_equal(needed, UINT64_C(0x100000003));
}

static void an_empty_message_is_not_valid(void **state)
{
    const uint8_t data[] = { 0, 0, 0, 0, 1 };
    struct pawl_bytes message;

    (void)state;
    assert_int_equal(pawl_frame_next(data, 5, 100, &message, NULL), PAWL_EINVAL);
    assert_int_equal(pawl_frame_next(data, 4, 100, &message, NULL), PAWL_EINVAL);
}

static void the_header_is_big_endian(void **state)
{
    const uint8_t expected[] = { 0x01, 0x02, 0x03, 0x04, 0xee };
    uint8_t out[5] = { 0, 0, 0, 0, 0xee };

    (void)state;
    pawl_frame_header(out, 0x01020304);
    assert_memory_equal(out, expected, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_frame_gives_its_message),
        cmocka_unit_test(a_frame_cut_anywhere_asks_for_what_it_takes),
        cmocka_unit_test(the_largest_message_passes_and_one_byte_more_is_refused_from_its_header),
        cmocka_unit_test(a_length_of_four_gigabytes_does_not_wrap),
        cmocka_unit_test(an_empty_message_is_not_valid),
        cmocka_unit_test(the_header_is_big_endian),
    };

    return cmocka_run_group_tests_name("frame", tests, NULL, NULL);
}
