/* Views and member infos: what was written is read, and nothing else is. */
#include "core/cluster/member_info.h"
#include "core/octets.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const struct pawl_subkey key = { { 3, 1, 4 } };
static const struct pawl_subkey other_key = { { 3, 1, 5 } };

static struct pawl_view view, read_back;
static uint8_t sealed[PAWL_VIEW_SEALED_MAX];
static uint8_t changed[PAWL_VIEW_SEALED_MAX];

static struct pawl_member_id id_of(unsigned number)
{
    struct pawl_member_id id = { { 0 } };

    id.bytes[0] = (uint8_t)(number * 89);
    id.bytes[1] = (uint8_t)number;
    return id;
}

static struct pawl_bytes text(const char *text)
{
    return pawl_bytes_of(text, strlen(text));
}

static void put(unsigned number, enum pawl_view_state state)
{
    struct pawl_member_id id = id_of(number);

    assert_int_equal(pawl_view_put(&view, &id, state, text("tls:a.example:7")), PAWL_OK);
}

static void make(unsigned count)
{
    memset(&view, 0, sizeof(view));
    view.number = 7 << 16 | 5;
    for (unsigned i = 0; i < count; i++) {
        put(i, i % 3 == 2 ? PAWL_VIEW_LEAVING : PAWL_VIEW_SERVING);
    }
}

static enum pawl_status decode(const uint8_t *bytes, size_t size)
{
    return pawl_view_decode(&read_back, &key, pawl_bytes_of(bytes, size));
}

/* ---- views ---- */

static void a_view_is_read_as_it_was_written(void **state)
{
    static const unsigned counts[] = { 0, 1, 2, 127, PAWL_MEMBERS_MAX };

    (void)state;
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        make(counts[i]);
        size_t size = pawl_view_encode(&view, &key, sealed);

        assert_true(size <= sizeof(sealed));
        assert_int_equal(decode(sealed, size), PAWL_OK);
        assert_true(pawl_view_equal(&view, &read_back));
        assert_memory_equal(&view, &read_back, sizeof(view));
        assert_int_equal(pawl_view_peek(pawl_bytes_of(sealed, size)), view.number);
    }
}

static void the_largest_view_fits(void **state)
{
    char longest[PAWL_VIEW_ADDRESS_MAX];

    (void)state;
    memset(longest, 'x', sizeof(longest));
    make(0);
    for (unsigned i = 0; i < PAWL_MEMBERS_MAX; i++) {
        struct pawl_member_id id = id_of(i);

        assert_int_equal(pawl_view_put(&view, &id, PAWL_VIEW_SERVING,
                                       pawl_bytes_of(longest, sizeof(longest))),
                         PAWL_OK);
    }
    struct pawl_member_id more = id_of(200);

    assert_int_equal(pawl_view_put(&view, &more, PAWL_VIEW_SERVING, text("a")), PAWL_EFULL);
    assert_int_equal(pawl_view_encode(&view, &key, sealed), PAWL_VIEW_SEALED_MAX);
    assert_int_equal(decode(sealed, PAWL_VIEW_SEALED_MAX), PAWL_OK);
    assert_true(pawl_view_equal(&view, &read_back));
    struct pawl_member_id there = id_of(3); /* full is no matter for who is in it */

    assert_int_equal(pawl_view_put(&view, &there, PAWL_VIEW_LEAVING, text("a")), PAWL_OK);
}

static void members_are_found_changed_and_dropped(void **state)
{
    struct pawl_member_id one = id_of(1);
    struct pawl_member_id nobody = id_of(9);

    (void)state;
    make(5);
    for (uint16_t i = 1; i < view.count; i++) {
        assert_true(memcmp(&view.members[i - 1].id, &view.members[i].id, 16) < 0);
    }
    assert_int_equal(pawl_view_find(&view, &nobody), PAWL_RING_NOBODY);
    assert_false(pawl_view_drop(&view, &nobody));
    put(1, PAWL_VIEW_LEAVING);
    assert_int_equal(view.count, 5);
    assert_int_equal(view.members[pawl_view_find(&view, &one)].state, PAWL_VIEW_LEAVING);
    assert_true(pawl_view_drop(&view, &one));
    assert_int_equal(view.count, 4);
    assert_int_equal(pawl_view_find(&view, &one), PAWL_RING_NOBODY);
    for (unsigned i = 0; i < 5; i++) {
        struct pawl_member_id id = id_of(i);

        assert_int_equal(pawl_view_find(&view, &id) != PAWL_RING_NOBODY, i != 1);
    }
}

static void what_is_no_member_is_refused(void **state)
{
    char too_long[PAWL_VIEW_ADDRESS_MAX + 1];
    struct pawl_member_id id = id_of(1);

    (void)state;
    make(1);
    memset(too_long, 'x', sizeof(too_long));
    assert_int_equal(pawl_view_put(&view, &id, PAWL_VIEW_SERVING, text("")), PAWL_EINVAL);
    assert_int_equal(pawl_view_put(&view, &id, PAWL_VIEW_SERVING, pawl_bytes_of("a\0b", 3)),
                     PAWL_EINVAL);
    assert_int_equal(pawl_view_put(&view, &id, PAWL_VIEW_SERVING,
                                   pawl_bytes_of(too_long, sizeof(too_long))),
                     PAWL_EINVAL);
    assert_int_equal(pawl_view_put(&view, &id, PAWL_VIEW_NONE, text("a")), PAWL_EINVAL);
    assert_int_equal(pawl_view_put(&view, &id, (enum pawl_view_state)3, text("a")), PAWL_EINVAL);
    assert_int_equal(view.count, 1);
}

static void nothing_changed_cut_or_moved_is_read(void **state)
{
    (void)state;
    make(2);
    size_t size = pawl_view_encode(&view, &key, sealed);

    for (size_t i = 0; i < size; i++) {
        memcpy(changed, sealed, size);
        changed[i] ^= 0x10;
        assert_int_equal(decode(changed, size), PAWL_ECORRUPT);
        assert_int_equal(read_back.number, 0);
        assert_int_equal(decode(sealed, i), PAWL_ECORRUPT);
    }
    memcpy(changed, sealed, size);
    changed[size] = 0;
    assert_int_equal(decode(changed, size + 1), PAWL_ECORRUPT);
    assert_int_equal(pawl_view_decode(&read_back, &other_key, pawl_bytes_of(sealed, size)),
                     PAWL_ECORRUPT);
    assert_int_equal(pawl_view_decode(&read_back, &key, pawl_bytes_of(NULL, 0)), PAWL_ECORRUPT);
}

/* A body under a good seal, as a member of another release would write it. */
static enum pawl_status decode_body(size_t size)
{
    uint8_t place[8];

    memcpy(place, changed + 1, sizeof(place));
    size = pawl_seal(&key, PAWL_SEAL_VIEW, pawl_bytes_of(place, sizeof(place)), changed, size);
    return decode(changed, size);
}

static void what_is_sealed_and_senseless_is_refused_too(void **state)
{
    const size_t member = 16 + 1 + 2 + 15;

    (void)state;
    make(2);
    size_t size = pawl_view_encode(&view, &key, sealed) - PAWL_SEAL_BYTES;

    assert_int_equal(size, 11 + 2 * member);
    memcpy(changed, sealed, size);
    assert_int_equal(decode_body(size), PAWL_OK);
    changed[0] = 2;
    assert_int_equal(decode_body(size), PAWL_EVERSION);
    memcpy(changed, sealed, size);
    memset(changed + 1, 0, 8);
    assert_int_equal(decode_body(size), PAWL_ECORRUPT); /* number 0 is no view */
    memcpy(changed, sealed, size);
    memcpy(changed + 11 + member, sealed + 11, member);
    assert_int_equal(decode_body(size), PAWL_ECORRUPT); /* one twice */
    memcpy(changed, sealed, size);
    memcpy(changed + 11, sealed + 11 + member, member);
    memcpy(changed + 11 + member, sealed + 11, member);
    assert_int_equal(decode_body(size), PAWL_ECORRUPT); /* out of order */
    memcpy(changed, sealed, size);
    changed[11 + 16] = 3;
    assert_int_equal(decode_body(size), PAWL_ECORRUPT); /* a state that is none */
    memcpy(changed, sealed, size);
    changed[11 + 16 + 3] = 0;
    assert_int_equal(decode_body(size), PAWL_ECORRUPT); /* an address with a NUL */
    memcpy(changed, sealed, size);
    changed[9] = 3;
    assert_int_equal(decode_body(size), PAWL_ECORRUPT); /* one more than there are */
    changed[9] = 1;
    assert_int_equal(decode_body(size), PAWL_ECORRUPT);
    changed[9] = PAWL_MEMBERS_MAX + 1;
    assert_int_equal(decode_body(size), PAWL_ECORRUPT);
}

static void numbers_rise_whatever_the_random_bits(void **state)
{
    (void)state;
    assert_int_equal(pawl_view_number_after(0, 0), 1 << 16);
    assert_int_equal(pawl_view_number_after(1 << 16 | 0xFFFF, 0), 2 << 16);
    assert_int_equal(pawl_view_number_after(1 << 16, 0xFFFF), 2 << 16 | 0xFFFF);
    assert_true(pawl_view_number_after(UINT64_MAX - 65536, 9) == (UINT64_MAX ^ 0xFFFF) + 9);
    assert_true(pawl_view_number_after(UINT64_MAX, 1) == 0);
}

static void only_who_serves_owns(void **state)
{
    static struct pawl_ring ring;

    (void)state;
    make(3); /* the third one leaves */
    assert_int_equal(pawl_view_ring(&view, &key, &ring), PAWL_OK);
    assert_int_equal(ring.member_count, 2);
    assert_int_equal(ring.view, view.number);
    struct pawl_member_id leaver = id_of(2);

    assert_int_equal(pawl_ring_find(&ring, &leaver), PAWL_RING_NOBODY);
    make(0);
    assert_int_equal(pawl_view_ring(&view, &key, &ring), PAWL_OK);
    assert_int_equal(ring.owner[17], PAWL_RING_NOBODY);
    view.number = 0; /* no view at all */
    assert_int_equal(pawl_view_ring(&view, &key, &ring), PAWL_OK);
    assert_int_equal(ring.member_count, 0);
    assert_int_equal(ring.owner[4095], PAWL_RING_NOBODY);
    assert_int_equal(ring.heir[0], PAWL_RING_NOBODY);
}

static void views_that_differ_in_anything_are_not_equal(void **state)
{
    (void)state;
    make(2);
    read_back = view;
    assert_true(pawl_view_equal(&view, &read_back));
    read_back.number++;
    assert_false(pawl_view_equal(&view, &read_back));
    read_back = view;
    read_back.count--;
    assert_false(pawl_view_equal(&view, &read_back));
    read_back = view;
    read_back.members[1].state = PAWL_VIEW_LEAVING;
    assert_false(pawl_view_equal(&view, &read_back));
    read_back = view;
    read_back.members[0].address[4] = 'b';
    assert_false(pawl_view_equal(&view, &read_back));
    read_back = view;
    read_back.members[0].id.bytes[15] = 1;
    assert_false(pawl_view_equal(&view, &read_back));
}

/* ---- infos ---- */

static const struct pawl_member_info info = {
    .state = PAWL_MEMBER_LEAVING,
    .acting = UINT64_C(0x123456789abc),
    .epoch = { { 1, 2, 3 } },
    .started_unix_s = 1800000000,
    .address = { (const uint8_t *)"tcp:a:1", 7 },
    .version = { (const uint8_t *)"0.5.0", 5 },
    .blob = { (const uint8_t *)"digests", 7 },
};

static void an_info_says_whether_its_member_is_frozen(void **state)
{
    uint8_t bytes[PAWL_MEMBER_INFO_MAX], thawed[PAWL_MEMBER_INFO_MAX];
    struct pawl_member_id id = id_of(1);
    struct pawl_member_info said = info;
    struct pawl_member_info out;
    size_t size = pawl_member_info_encode(&info, &key, &id, thawed);

    (void)state;
    assert_int_equal(pawl_member_info_decode(&out, &key, &id, pawl_bytes_of(thawed, size)),
                     PAWL_OK);
    assert_false(out.frozen);
    said.frozen = true;
    assert_int_equal(pawl_member_info_encode(&said, &key, &id, bytes), size + 1);
    assert_int_equal(pawl_member_info_decode(&out, &key, &id, pawl_bytes_of(bytes, size + 1)),
                     PAWL_OK);
    assert_true(out.frozen);
    assert_memory_equal(out.blob.data, "digests", 7);
}

static void an_info_is_read_as_it_was_written(void **state)
{
    uint8_t bytes[PAWL_MEMBER_INFO_MAX];
    struct pawl_member_id id = id_of(1);
    struct pawl_member_info out;
    size_t size = pawl_member_info_encode(&info, &key, &id, bytes);

    (void)state;
    assert_int_equal(pawl_member_info_decode(&out, &key, &id, pawl_bytes_of(bytes, size)), PAWL_OK);
    assert_int_equal(out.state, PAWL_MEMBER_LEAVING);
    assert_true(out.acting == info.acting);
    assert_true(pawl_epoch_equal(out.epoch, info.epoch));
    assert_int_equal(out.started_unix_s, 1800000000);
    assert_int_equal(out.address.size, 7);
    assert_memory_equal(out.address.data, "tcp:a:1", 7);
    assert_memory_equal(out.version.data, "0.5.0", 5);
    assert_memory_equal(out.blob.data, "digests", 7);
}

static void an_info_of_another_member_or_changed_is_refused(void **state)
{
    uint8_t bytes[PAWL_MEMBER_INFO_MAX];
    struct pawl_member_id id = id_of(1);
    struct pawl_member_id other = id_of(2);
    struct pawl_member_info out;
    size_t size = pawl_member_info_encode(&info, &key, &id, bytes);

    (void)state;
    assert_int_equal(pawl_member_info_decode(&out, &key, &other, pawl_bytes_of(bytes, size)),
                     PAWL_ECORRUPT);
    for (size_t i = 0; i < size; i++) {
        bytes[i] ^= 1;
        assert_int_equal(pawl_member_info_decode(&out, &key, &id, pawl_bytes_of(bytes, size)),
                         PAWL_ECORRUPT);
        bytes[i] ^= 1;
        assert_int_equal(pawl_member_info_decode(&out, &key, &id, pawl_bytes_of(bytes, i)),
                         PAWL_ECORRUPT);
        assert_int_equal(out.state, PAWL_MEMBER_NONE);
    }
    bytes[0] = 2; /* a later version, and a state that is none */
    size = pawl_seal(&key, PAWL_SEAL_MEMBER, pawl_bytes_of(id.bytes, 16), bytes,
                     size - PAWL_SEAL_BYTES);
    assert_int_equal(pawl_member_info_decode(&out, &key, &id, pawl_bytes_of(bytes, size)),
                     PAWL_EVERSION);
    bytes[0] = 1;
    bytes[1] = 4;
    size = pawl_seal(&key, PAWL_SEAL_MEMBER, pawl_bytes_of(id.bytes, 16), bytes,
                     size - PAWL_SEAL_BYTES);
    assert_int_equal(pawl_member_info_decode(&out, &key, &id, pawl_bytes_of(bytes, size)),
                     PAWL_ECORRUPT);
}

static void the_largest_info_fits_and_a_larger_one_is_refused(void **state)
{
    static const uint8_t filler[PAWL_VIEW_ADDRESS_MAX + 1];
    uint8_t bytes[PAWL_MEMBER_INFO_MAX];
    struct pawl_member_id id = id_of(1);
    struct pawl_member_info largest = info;
    struct pawl_member_info out;

    (void)state;
    largest.address = pawl_bytes_of(filler, PAWL_VIEW_ADDRESS_MAX);
    largest.version = pawl_bytes_of(filler, PAWL_MEMBER_VERSION_MAX);
    largest.blob = pawl_bytes_of(filler, PAWL_MEMBER_BLOB_MAX);
    size_t size = pawl_member_info_encode(&largest, &key, &id, bytes);

    assert_true(size > 0 && size <= sizeof(bytes));
    assert_int_equal(pawl_member_info_decode(&out, &key, &id, pawl_bytes_of(bytes, size)), PAWL_OK);
    largest.blob.size++;
    assert_int_equal(pawl_member_info_encode(&largest, &key, &id, bytes), 0);
    largest.blob.size--;
    largest.address.size++;
    assert_int_equal(pawl_member_info_encode(&largest, &key, &id, bytes), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_view_is_read_as_it_was_written),
        cmocka_unit_test(the_largest_view_fits),
        cmocka_unit_test(members_are_found_changed_and_dropped),
        cmocka_unit_test(what_is_no_member_is_refused),
        cmocka_unit_test(nothing_changed_cut_or_moved_is_read),
        cmocka_unit_test(what_is_sealed_and_senseless_is_refused_too),
        cmocka_unit_test(numbers_rise_whatever_the_random_bits),
        cmocka_unit_test(only_who_serves_owns),
        cmocka_unit_test(views_that_differ_in_anything_are_not_equal),
        cmocka_unit_test(an_info_says_whether_its_member_is_frozen),
        cmocka_unit_test(an_info_is_read_as_it_was_written),
        cmocka_unit_test(an_info_of_another_member_or_changed_is_refused),
        cmocka_unit_test(the_largest_info_fits_and_a_larger_one_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
