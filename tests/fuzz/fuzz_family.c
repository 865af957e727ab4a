/*
 * Families: two serialized records, or one and changes that make a second and a third of it.
 *
 * The input: a byte that says which; then u16 the size of the first record, the record, and the
 * second record or the changes (5 bytes each: which version, which field, a 3-byte value).
 *
 * What must hold: a record that was read writes the same bytes. The join of two versions is a
 * sound record that writes and reads; it does not matter which comes first, or whether one comes
 * again; what is revoked stays so; no end of life moves out; the generation does not go back.
 */
#include "core/family.h"
#include "fuzz/require.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool read_family(struct pawl_family *family, struct pawl_bytes bytes)
{
    static const struct pawl_family nothing;
    uint8_t out[PAWL_FAMILY_BYTES_MAX];
    size_t size = 0;
    uint8_t *copy = malloc(bytes.size > 0 ? bytes.size : 1);

    require(copy != NULL);
    if (bytes.size > 0) {
        memcpy(copy, bytes.data, bytes.size);
    }
    enum pawl_status status = pawl_family_decode(family, pawl_bytes_of(copy, bytes.size));

    if (status == PAWL_OK) {
        require(pawl_family_encode(family, out, sizeof(out), &size) == PAWL_OK);
        require(size == bytes.size && memcmp(out, copy, size) == 0);
        require(pawl_family_encode(family, out, size - 1, &size) == PAWL_ETOOBIG);
        require(pawl_family_position(family, family->jtis[0]) == 0);
        (void)pawl_family_has_ended(family, (struct pawl_stamp){ family->born_ms });
    } else {
        require(status == PAWL_ECORRUPT || status == PAWL_EVERSION);
        require(memcmp(family, &nothing, sizeof(*family)) == 0);
    }
    free(copy);
    return status == PAWL_OK;
}

static void require_same(const struct pawl_family *a, const struct pawl_family *b)
{
    uint8_t one[PAWL_FAMILY_BYTES_MAX];
    uint8_t two[PAWL_FAMILY_BYTES_MAX];
    size_t one_size = 0;
    size_t two_size = 0;

    require(pawl_family_encode(a, one, sizeof(one), &one_size) == PAWL_OK);
    require(pawl_family_encode(b, two, sizeof(two), &two_size) == PAWL_OK);
    require(one_size == two_size && memcmp(one, two, one_size) == 0);
}

static bool not_later(uint64_t merged, uint64_t before)
{
    return before == 0 || (merged != 0 && merged <= before);
}

static void check_join(const struct pawl_family *a, const struct pawl_family *b)
{
    uint8_t out[PAWL_FAMILY_BYTES_MAX];
    struct pawl_family join;
    struct pawl_family other;
    size_t size = 0;
    enum pawl_status status = pawl_family_merge(&join, a, b);

    if (status != PAWL_OK) {
        require(status == PAWL_EINVAL && pawl_family_merge(&other, b, a) == PAWL_EINVAL);
        return;
    }
    require(pawl_family_merge(&other, b, a) == PAWL_OK);
    require_same(&join, &other);
    other = *a; /* the result may be one of the two */
    require(pawl_family_merge(&other, &other, b) == PAWL_OK);
    require_same(&join, &other);
    require(pawl_family_merge(&other, &join, a) == PAWL_OK);
    require_same(&join, &other);
    require(pawl_family_merge(&other, b, &join) == PAWL_OK);
    require_same(&join, &other);
    require(pawl_family_encode(&join, out, sizeof(out), &size) == PAWL_OK);
    require(read_family(&other, pawl_bytes_of(out, size)));
    require(join.generation == (a->generation > b->generation ? a->generation : b->generation));
    require(join.state == PAWL_FAMILY_REVOKED ||
            (a->state == PAWL_FAMILY_ACTIVE && b->state == PAWL_FAMILY_ACTIVE));
    require(not_later(join.abs_exp_s, a->abs_exp_s) && not_later(join.abs_exp_s, b->abs_exp_s));
    require(not_later(join.idle_s, a->idle_s) && not_later(join.idle_s, b->idle_s));
}

/* Three versions met in any order: what rules an answer is the same. */
static void check_three(const struct pawl_family *a, const struct pawl_family *b,
                        const struct pawl_family *c)
{
    struct pawl_family left;
    struct pawl_family right;

    if (pawl_family_merge(&left, a, b) != PAWL_OK ||
        pawl_family_merge(&left, &left, c) != PAWL_OK ||
        pawl_family_merge(&right, b, c) != PAWL_OK ||
        pawl_family_merge(&right, a, &right) != PAWL_OK) {
        return;
    }
    require(left.generation == right.generation);
    require(left.abs_exp_s == right.abs_exp_s && left.idle_s == right.idle_s);
    require(left.reuse_reported == right.reuse_reported);
    require(pawl_id_equal(left.jtis[0], right.jtis[0]));
}

/* A token more: as a rotation leaves the record, within what decode calls sound. */
static void rotate(struct pawl_family *family, uint32_t value)
{
    struct pawl_id token = { value & 3, 7 };

    if (family->generation == UINT64_MAX) {
        return;
    }
    family->prev = family->cur;
    family->cur.value.size = 1;
    family->cur.value.data[0] = (uint8_t)(value & 3);
    family->cur.scope = PAWL_SCOPE_TOKEN;
    family->generation++;
    memmove(family->jtis + 1, family->jtis, (PAWL_FAMILY_JTIS - 1) * sizeof(family->jtis[0]));
    family->jtis[0] = token;
    family->jtis_count = family->jtis_count < PAWL_FAMILY_JTIS ? (uint8_t)(family->jtis_count + 1)
                                                               : PAWL_FAMILY_JTIS;
    family->rotated_ms = value >> 2;
    family->superseded_ms = value >> 3;
    family->grace_until_ms = value >> 1;
    family->grace_uses = value % 3;
}

static void change(struct pawl_family *family, uint8_t field, uint32_t value)
{
    struct pawl_bytes text = pawl_bytes_of("abcdefgh", value % 9);

    switch (field % 12) {
    case 0:
        rotate(family, value);
        break;
    case 1:
        (void)pawl_family_revoke(family, (enum pawl_reason)(value % 13), text, value >> 4);
        break;
    case 2:
        family->born_ms = value;
        break;
    case 3:
        family->abs_exp_s = value;
        break;
    case 4:
        family->idle_s = value;
        break;
    case 5:
        (void)pawl_name_set(&family->subject, text);
        break;
    case 6:
        (void)pawl_name_set(&family->client, text);
        break;
    case 7:
        memcpy(family->binding, "abcdefgh", 8);
        family->binding_size = (uint8_t)(value % 9);
        break;
    case 8:
        family->grace_until_ms = value;
        break;
    case 9:
        family->cur.exp_s = value;
        family->cur.iat_s = value >> 8;
        family->cur.seed[0] = (uint8_t)value;
        break;
    case 10:
        family->jtis_count =
            family->generation > 1 && family->jtis_count > 2 ? 2 : family->jtis_count;
        break;
    default:
        family->reuse_reported = true;
        break;
    }
}

static void check_open(struct pawl_bytes in)
{
    struct pawl_error error = { PAWL_OK, 0, "" };
    struct pawl_family_open open = { .ns = pawl_bytes_of("n", 1), .sid = pawl_bytes_of("s", 1) };
    struct pawl_family family;
    uint8_t out[PAWL_FAMILY_BYTES_MAX];
    size_t size = 0;

    if (in.size < 8) {
        return;
    }
    static const uint8_t filler[1024];

    open.scope = (enum pawl_scope)(in.data[0] % 5);
    open.value = pawl_bytes_of(filler, in.data[1] * 3u);
    open.subject = pawl_bytes_of(filler, in.data[2] * 3u);
    open.client = pawl_bytes_of(filler, in.data[3] * 3u);
    open.binding = pawl_bytes_of(filler, in.data[4] % 40);
    open.exp_s = in.data[5] == 255 ? INT64_MAX : in.data[5];
    open.family_max_s = in.data[6];
    open.idle_max_s = in.data[7];
    enum pawl_status status =
        pawl_family_init(&family, &open, (struct pawl_stamp){ 5000000 }, &error);

    if (status != PAWL_OK) {
        require(error.text[0] != '\0');
        return;
    }
    require(pawl_family_encode(&family, out, sizeof(out), &size) == PAWL_OK);
    require(read_family(&family, pawl_bytes_of(out, size)));
    require(family.generation == 0 && family.state == PAWL_FAMILY_ACTIVE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pawl_family versions[3];
    struct pawl_bytes rest;
    size_t first;

    if (size < 3) {
        return 0;
    }
    first = (size_t)(data[1] << 8 | data[2]);
    first = first < size - 3 ? first : size - 3;
    rest = pawl_bytes_of(data + 3 + first, size - 3 - first);
    if (data[0] == 2) {
        check_open(rest);
        return 0;
    }
    if (!read_family(&versions[0], pawl_bytes_of(data + 3, first))) {
        return 0;
    }
    if (data[0] == 1) {
        if (read_family(&versions[1], rest)) {
            check_join(&versions[0], &versions[1]);
        }
        return 0;
    }
    versions[1] = versions[0];
    versions[2] = versions[0];
    for (; rest.size >= 5; rest.data += 5, rest.size -= 5) {
        change(&versions[rest.data[0] % 3], rest.data[1],
               (uint32_t)rest.data[2] | (uint32_t)rest.data[3] << 8 | (uint32_t)rest.data[4] << 16);
    }
    check_join(&versions[0], &versions[1]);
    check_join(&versions[1], &versions[2]);
    check_three(&versions[0], &versions[1], &versions[2]);
    return 0;
}
