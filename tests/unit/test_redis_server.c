/* The redis adapter on a real server: each verb's answers, and what faults do to them. */
#include "unit/redis_rig.h"

static struct rig rig;
static struct rig_server server;

#define NEED_REDIS()                                     \
    do {                                                 \
        if (!rig_has_redis()) {                          \
            print_message("no /usr/bin/redis-server\n"); \
            skip();                                      \
        }                                                \
    } while (0)

static int begin(void **state)
{
    (void)state;
    memset(&server, 0, sizeof(server));
    if (rig_has_redis()) {
        rig_server_start(&server, 0, NULL);
        rig_init(&rig, server.port);
    }
    return 0;
}

static int end(void **state)
{
    (void)state;
    if (server.folder[0] != '\0') {
        rig_server_end(&server);
    }
    return 0;
}

static void up(void)
{
    rig_start(&rig);
    rig_until(&rig, rig.ups == 1);
}

static void the_handshake_says_who_the_primary_is(void **state)
{
    (void)state;
    NEED_REDIS();
    rig_admin_do(&server, "CONFIG SET appendonly yes");
    up();
    assert_memory_equal(rig.state.version, "redis 7.", 8);
    assert_int_equal(rig.state.replicas, 0);
    assert_false(rig.state.unsafe);
    assert_string_equal(rig.state.warning, "");
    assert_non_null(strstr(rig.state.address, "127.0.0.1:"));
    assert_false(pawl_epoch_equal(rig.state.epoch, (struct pawl_epoch){ { 0 } }));
    rig_stop(&rig);
}

static void an_announcement_tells_everything(void **state)
{
    struct pawl_engine_command view = { .verb = PAWL_ENGINE_VIEW_SET };
    struct pawl_engine_command ready = { .verb = PAWL_ENGINE_GATE_READY };
    struct pawl_engine_command open = { .verb = PAWL_ENGINE_GATE_OPEN };
    uint64_t mark;

    (void)state;
    NEED_REDIS();
    up();
    assert_int_equal(rig_do(&rig, rig_announce(1, "one")), PAWL_ENGINE_WON);
    assert_int_equal(rig.last.announce.member_count, 1);
    assert_int_equal(rig.last.announce.view.size, 0);
    assert_int_equal(rig.last.announce.top_count, 0);
    assert_int_equal(rig.last.announce.ready_count, 0);
    assert_true(pawl_epoch_equal(rig.last.announce.gate, (struct pawl_epoch){ { 0 } }));
    mark = rig.members[0].mark;

    view.view_set.number = 0x10001;
    view.view_set.view = pawl_bytes_of("the\0view", 8);
    assert_int_equal(rig_do(&rig, view), PAWL_ENGINE_WON);
    ready.gate.epoch = rig.state.epoch;
    ready.gate.self = rig_member(1);
    assert_int_equal(rig_do(&rig, ready), PAWL_ENGINE_WON);
    open.gate.epoch = rig.state.epoch;
    assert_int_equal(rig_do(&rig, open), PAWL_ENGINE_WON);
    assert_int_equal(rig_do(&rig, rig_append(7, 1, "fact")), PAWL_ENGINE_WON);
    assert_int_equal(rig_do(&rig, rig_append(7, 2, "fact")), PAWL_ENGINE_WON);

    assert_int_equal(rig_do(&rig, rig_announce(2, "two")), PAWL_ENGINE_WON);
    assert_int_equal(rig_do(&rig, rig_announce(1, "one again")), PAWL_ENGINE_WON);
    assert_int_equal(rig.last.announce.member_count, 2);
    assert_true(pawl_member_id_equal(rig.members[0].id, rig_member(1)));
    assert_true(rig.members[0].mark > mark);
    assert_true(rig_bytes_are(rig.members[0].info, "one again"));
    assert_true(rig_bytes_are(rig.members[1].info, "two"));
    assert_int_equal(rig.last.announce.view.size, 8);
    assert_int_equal(rig.last.announce.top_count, 1);
    assert_int_equal(rig.tops[0].first, 1);
    assert_int_equal(rig.tops[0].top, 2);
    assert_int_equal(rig.last.announce.ready_count, 1);
    assert_true(pawl_member_id_equal(rig.ready[0], rig_member(1)));
    assert_true(pawl_epoch_equal(rig.last.announce.gate, rig.state.epoch));
    assert_true(rig.last.announce.engine_ms > UINT64_C(1600000000000));
    rig_stop(&rig);
}

static void a_retired_member_is_no_longer_named(void **state)
{
    struct pawl_engine_command retire = { .verb = PAWL_ENGINE_RETIRE };

    (void)state;
    NEED_REDIS();
    up();
    assert_int_equal(rig_do(&rig, rig_announce(1, "one")), PAWL_ENGINE_WON);
    retire.retire.member = rig_member(1);
    assert_int_equal(rig_do(&rig, retire), PAWL_ENGINE_WON);
    assert_int_equal(rig_do(&rig, retire), PAWL_ENGINE_WON); /* again changes nothing */
    assert_int_equal(rig_do(&rig, rig_announce(2, "two")), PAWL_ENGINE_WON);
    assert_int_equal(rig.last.announce.member_count, 1);
    assert_int_equal(rig_admin_number(&server, "HLEN {t:m}:info"), 1);
    rig_stop(&rig);
}

static void a_view_gives_way_to_a_higher_number_only(void **state)
{
    struct pawl_engine_command view = { .verb = PAWL_ENGINE_VIEW_SET };

    (void)state;
    NEED_REDIS();
    up();
    view.view_set.number = UINT64_C(0x8000000000000003); /* a double does not know it from ...2 */
    view.view_set.view = pawl_bytes_of("high", 4);
    assert_int_equal(rig_do(&rig, view), PAWL_ENGINE_WON);
    assert_int_equal(rig.last.view_set.replaced, 0);
    assert_int_equal(rig_do(&rig, view), PAWL_ENGINE_WON); /* the same again */
    assert_int_equal(rig.last.view_set.replaced, 0);
    view.view_set.number = UINT64_C(0x8000000000000002);
    view.view_set.view = pawl_bytes_of("low", 3);
    assert_int_equal(rig_do(&rig, view), PAWL_ENGINE_REFUSED);
    assert_true(rig_bytes_are(rig.last.view_set.view, "high"));
    view.view_set.number = UINT64_C(0x8000000000000004);
    view.view_set.view = pawl_bytes_of("higher", 6);
    assert_int_equal(rig_do(&rig, view), PAWL_ENGINE_WON);
    assert_int_equal(rig.last.view_set.replaced, UINT64_C(0x8000000000000003));
    assert_int_equal(rig_do(&rig, rig_announce(1, "")), PAWL_ENGINE_WON);
    assert_true(rig_bytes_are(rig.last.announce.view, "higher"));
    view.view_set.number++;
    view.view_set.exact = true;
    view.view_set.base = UINT64_C(0x8000000000000003); /* not the one that is there */
    assert_int_equal(rig_do(&rig, view), PAWL_ENGINE_REFUSED);
    assert_true(rig_bytes_are(rig.last.view_set.view, "higher"));
    view.view_set.base++;
    assert_int_equal(rig_do(&rig, view), PAWL_ENGINE_WON);
    rig_stop(&rig);
}

static void what_is_no_view_is_written_over_whatever_its_number(void **state)
{
    struct pawl_engine_command view = { .verb = PAWL_ENGINE_VIEW_SET };

    (void)state;
    NEED_REDIS();
    up();
    view.view_set.number = UINT64_MAX;
    view.view_set.view = pawl_bytes_of("junk\0", 5);
    assert_int_equal(rig_do(&rig, view), PAWL_ENGINE_WON);
    view.view_set.number = 7;
    view.view_set.view = pawl_bytes_of("healed", 6);
    view.view_set.over = pawl_bytes_of("junk", 4); /* not these bytes: somebody was first */
    assert_int_equal(rig_do(&rig, view), PAWL_ENGINE_REFUSED);
    assert_true(rig.last.view_set.view.size == 5);
    view.view_set.over = pawl_bytes_of("junk\0", 5);
    assert_int_equal(rig_do(&rig, view), PAWL_ENGINE_WON);
    view.view_set.over = pawl_bytes_of(NULL, 0);
    view.view_set.number = 8; /* and numbers count from there */
    view.view_set.exact = true;
    view.view_set.base = 7;
    assert_int_equal(rig_do(&rig, view), PAWL_ENGINE_WON);
    rig_stop(&rig);
}

/* ---- the log ---- */

static enum pawl_engine_result read_from(unsigned origin, uint64_t position, uint32_t block_ms)
{
    const struct pawl_log_cursor cursor = { rig_origin(origin), position };
    struct pawl_engine_command command = { .verb = PAWL_ENGINE_READ };

    command.read.cursors = &cursor;
    command.read.count = 1;
    command.read.entries_max = 100;
    command.read.block_ms = block_ms;
    return rig_do(&rig, command);
}

static void entries_are_read_as_they_were_appended(void **state)
{
    (void)state;
    NEED_REDIS();
    up();
    assert_int_equal(rig_do(&rig, rig_append(1, 1, "a")), PAWL_ENGINE_WON);
    assert_int_equal(rig_do(&rig, rig_append(1, 2, "b")), PAWL_ENGINE_WON);
    assert_int_equal(rig_do(&rig, rig_append(1, 2, "other")), PAWL_ENGINE_WON); /* is there */
    assert_int_equal(read_from(1, 0, 0), PAWL_ENGINE_WON);
    assert_int_equal(rig.last.read.count, 2);
    assert_int_equal(rig.entries[1].position, 2);
    assert_true(rig_bytes_are(rig.entries[1].bytes, "b"));
    assert_memory_equal(rig.entries[1].origin.bytes, rig_origin(1).bytes, 16);
    assert_int_equal(read_from(1, 2, 20), PAWL_ENGINE_WON);
    assert_int_equal(rig.last.read.count, 0);
    rig_stop(&rig);
}

static void a_blocked_read_holds_up_nobody_and_ends_with_the_entry(void **state)
{
    const struct pawl_log_cursor cursor = { rig_origin(1), 0 };
    struct pawl_engine_command command = { .verb = PAWL_ENGINE_READ };
    uint64_t tag;

    (void)state;
    NEED_REDIS();
    up();
    command.read.cursors = &cursor;
    command.read.count = 1;
    command.read.block_ms = 10000;
    command.deadline_ms = 15000;
    tag = rig_emit(&rig, command);
    assert_int_equal(rig_do(&rig, rig_announce(1, "")), PAWL_ENGINE_WON);
    rig_turn_for(&rig, 30);
    assert_int_equal(rig.table[tag].times, 0);
    (void)rig_emit(&rig, rig_append(1, 1, "woken"));
    rig_until(&rig, rig.table[tag].times > 0);
    assert_int_equal(rig.table[tag].result, PAWL_ENGINE_WON);
    rig_until(&rig, rig.answers == rig.next_tag);
    rig_stop(&rig);
}

static void an_append_leaves_no_hole(void **state)
{
    struct pawl_engine_command leap = rig_append(1, 9, "nine");

    (void)state;
    NEED_REDIS();
    up();
    assert_int_equal(rig_do(&rig, rig_append(1, 5, "five")), PAWL_ENGINE_REFUSED);
    leap.append.position = 5;
    leap.append.after = 0; /* the emitter knows that there is nothing before */
    assert_int_equal(rig_do(&rig, leap), PAWL_ENGINE_WON);
    assert_int_equal(rig_do(&rig, rig_append(1, 7, "seven")), PAWL_ENGINE_REFUSED);
    assert_int_equal(rig_do(&rig, rig_append(1, 6, "six")), PAWL_ENGINE_WON);
    leap.append.position = 9;
    leap.append.after = 5;
    assert_int_equal(rig_do(&rig, leap), PAWL_ENGINE_REFUSED);
    leap.append.after = 6;
    assert_int_equal(rig_do(&rig, leap), PAWL_ENGINE_WON);
    assert_int_equal(rig_do(&rig, rig_append(1, 7, "seven")), PAWL_ENGINE_WON); /* passed */
    rig_stop(&rig);
}

static void after_a_flush_no_append_follows_what_is_gone(void **state)
{
    struct pawl_engine_command again = rig_append(1, 2, "b");

    (void)state;
    NEED_REDIS();
    up();
    assert_int_equal(rig_do(&rig, rig_append(1, 1, "a")), PAWL_ENGINE_WON);
    assert_int_equal(rig_do(&rig, rig_append(1, 2, "b")), PAWL_ENGINE_WON);
    rig_admin_do(&server, "FLUSHALL");
    assert_int_equal(rig_do(&rig, rig_append(1, 3, "c")), PAWL_ENGINE_REFUSED);
    assert_int_equal(rig_do(&rig, rig_announce(1, "")), PAWL_ENGINE_WON);
    assert_int_equal(rig.last.announce.top_count, 0);
    again.append.after = 0;
    assert_int_equal(rig_do(&rig, again), PAWL_ENGINE_WON);
    assert_int_equal(rig_do(&rig, rig_append(1, 3, "c")), PAWL_ENGINE_WON);
    assert_int_equal(rig_do(&rig, rig_announce(1, "")), PAWL_ENGINE_WON);
    assert_int_equal(rig.last.announce.top_count, 1); /* named again */
    assert_int_equal(rig.tops[0].first, 2);
    assert_int_equal(rig.tops[0].top, 3);
    rig_stop(&rig);
}

static void a_trimmed_stream_goes_on_and_an_empty_one_can_be_dropped(void **state)
{
    struct pawl_engine_command trim = { .verb = PAWL_ENGINE_TRIM };
    struct pawl_engine_command drop = { .verb = PAWL_ENGINE_DROP_ORIGIN };

    (void)state;
    NEED_REDIS();
    up();
    assert_int_equal(rig_do(&rig, rig_append(1, 1, "a")), PAWL_ENGINE_WON);
    assert_int_equal(rig_do(&rig, rig_append(1, 2, "b")), PAWL_ENGINE_WON);
    trim.trim.origin = rig_origin(1);
    trim.trim.position = 2;
    drop.drop.origin = rig_origin(1);
    assert_int_equal(rig_do(&rig, trim), PAWL_ENGINE_WON);
    assert_int_equal(rig_do(&rig, drop), PAWL_ENGINE_REFUSED);
    trim.trim.position = 3;
    assert_int_equal(rig_do(&rig, trim), PAWL_ENGINE_WON);
    assert_int_equal(rig_do(&rig, rig_announce(1, "")), PAWL_ENGINE_WON);
    assert_int_equal(rig.tops[0].first, 0);
    assert_int_equal(rig.tops[0].top, 2);
    assert_int_equal(rig_do(&rig, rig_append(1, 3, "c")), PAWL_ENGINE_WON);
    trim.trim.position = 4;
    assert_int_equal(rig_do(&rig, trim), PAWL_ENGINE_WON);
    assert_int_equal(rig_do(&rig, drop), PAWL_ENGINE_WON);
    assert_int_equal(rig_do(&rig, rig_announce(1, "")), PAWL_ENGINE_WON);
    assert_int_equal(rig.last.announce.top_count, 0);
    rig_stop(&rig);
}

/* More streams than one announcement asks: what it does not ask stands in a hash beside them. */
static void ends_of_many_streams_are_told_and_a_deleted_one_is_noticed(void **state)
{
    (void)state;
    NEED_REDIS();
    up();
    for (unsigned i = 0; i < 60; i++) {
        (void)rig_emit(&rig, rig_append(i, 1, "a"));
        (void)rig_emit(&rig, rig_append(i, 2, "b"));
    }
    assert_int_equal(rig_do(&rig, rig_announce(1, "")), PAWL_ENGINE_WON);
    assert_int_equal(rig.last.announce.top_count, 60);
    for (unsigned i = 0; i < 60; i++) {
        assert_int_equal(rig.tops[i].first, 1);
        assert_int_equal(rig.tops[i].top, 2);
    }
    rig_admin_do(&server, "DEL {t:rl:0}:o:cd070000000000000000000000000000");
    for (bool seen = false; !seen;) {
        assert_int_equal(rig_do(&rig, rig_announce(1, "")), PAWL_ENGINE_WON);
        assert_int_equal(rig.last.announce.top_count, 60);
        for (unsigned i = 0; i < 60; i++) {
            seen = seen || (rig.tops[i].origin.bytes[1] == 7 && rig.tops[i].top == 0);
        }
    }
    rig_stop(&rig);
}

/* ---- families ---- */

static struct pawl_engine_command family_set(uint64_t version, uint64_t next, const char *value)
{
    struct pawl_engine_command command = { .verb = PAWL_ENGINE_FAMILY_SET };

    command.family.key.lo = 1;
    command.family.key.hi = 2;
    command.family.version = version;
    command.family.next = next;
    command.family.value = pawl_bytes_of(value, strlen(value));
    command.family.until_s = (uint64_t)time(NULL) + 100;
    return command;
}

static void a_family_is_written_on_its_version_only(void **state)
{
    struct pawl_engine_command get = { .verb = PAWL_ENGINE_FAMILY_GET };

    (void)state;
    NEED_REDIS();
    up();
    get.family.key.lo = 1;
    get.family.key.hi = 2;
    assert_int_equal(rig_do(&rig, get), PAWL_ENGINE_WON);
    assert_int_equal(rig.last.family.version, 0);
    assert_int_equal(rig_do(&rig, family_set(0, 1, "one")), PAWL_ENGINE_WON);
    assert_int_equal(rig_do(&rig, family_set(0, 1, "one")), PAWL_ENGINE_WON); /* done before */
    assert_int_equal(rig_do(&rig, family_set(0, 1, "thief")), PAWL_ENGINE_REFUSED);
    assert_int_equal(rig.last.family.version, 1);
    assert_false(rig.last.family.closed);
    assert_true(rig_bytes_are(rig.last.family.value, "one"));
    assert_int_equal(rig_do(&rig, family_set(1, 2, "two")), PAWL_ENGINE_WON);
    assert_int_equal(rig_do(&rig, get), PAWL_ENGINE_WON);
    assert_int_equal(rig.last.family.version, 2);
    assert_true(rig_bytes_are(rig.last.family.value, "two"));
    assert_true(rig_admin_number(&server, "PTTL {t:rt:00}:f:01000000000000000200000000000000") >
                90000);
    rig_stop(&rig);
}

static void a_closed_gate_keeps_families_from_being_written(void **state)
{
    struct pawl_engine_command open = { .verb = PAWL_ENGINE_GATE_OPEN };
    struct pawl_engine_command set = family_set(0, 1, "one");

    (void)state;
    NEED_REDIS();
    up();
    set.family.gated = true;
    set.family.epoch = rig.state.epoch;
    assert_int_equal(rig_do(&rig, set), PAWL_ENGINE_REFUSED);
    assert_true(rig.last.family.closed);
    open.gate.epoch = rig.state.epoch;
    assert_int_equal(rig_do(&rig, open), PAWL_ENGINE_WON);
    assert_int_equal(rig_do(&rig, set), PAWL_ENGINE_WON);
    set = family_set(1, 2, "two");
    set.family.gated = true;
    set.family.epoch.bytes[0] = (uint8_t)~rig.state.epoch.bytes[0];
    assert_int_equal(rig_do(&rig, set), PAWL_ENGINE_REFUSED);
    assert_true(rig.last.family.closed);
    rig_stop(&rig);
}

/* ---- slots ---- */

static struct pawl_engine_command slot_save(uint64_t view, const struct pawl_slot_entry *entries,
                                            uint32_t count)
{
    struct pawl_engine_command command = { .verb = PAWL_ENGINE_SLOT_SAVE };

    command.slot.slot = 4095;
    command.slot.view = view;
    command.slot.owner = rig_member(1);
    command.slot.entries = entries;
    command.slot.count = count;
    command.slot.keep_ms = 60000;
    return command;
}

static void a_slot_is_saved_by_its_latest_owner_only(void **state)
{
    struct pawl_engine_command load = { .verb = PAWL_ENGINE_SLOT_LOAD };
    struct pawl_slot_entry entries[2] = { { { 1, UINT64_MAX }, { (const uint8_t *)"a\0b", 3 } },
                                          { { 2, 0 }, { (const uint8_t *)"c", 1 } } };

    (void)state;
    NEED_REDIS();
    up();
    load.slot.slot = 4095;
    assert_int_equal(rig_do(&rig, load), PAWL_ENGINE_WON);
    assert_int_equal(rig.last.slot.count, 0);
    assert_int_equal(rig_do(&rig, slot_save(0x8000000000000002, entries, 2)), PAWL_ENGINE_WON);
    assert_int_equal(rig_do(&rig, slot_save(0x8000000000000001, entries, 2)), PAWL_ENGINE_REFUSED);
    assert_true(rig.last.slot.view == 0x8000000000000002);
    entries[1].value.size = 0; /* delete it */
    assert_int_equal(rig_do(&rig, slot_save(0x8000000000000003, entries, 2)), PAWL_ENGINE_WON);
    assert_int_equal(rig_do(&rig, load), PAWL_ENGINE_WON);
    assert_int_equal(rig.last.slot.count, 1);
    assert_true(pawl_id_equal(rig.records[0].id, entries[0].id));
    assert_memory_equal(rig.records[0].value.data, "a\0b", 3);
    assert_true(rig_admin_number(&server, "PTTL {t:c:63}:s:4095") > 50000);
    rig_stop(&rig);
}

static void a_full_save_goes_through_and_comes_back(void **state)
{
    static struct pawl_slot_entry entries[PAWL_SLOT_SAVE_MAX];
    struct pawl_engine_command load = { .verb = PAWL_ENGINE_SLOT_LOAD };

    (void)state;
    NEED_REDIS();
    up();
    for (uint32_t i = 0; i < PAWL_SLOT_SAVE_MAX; i++) {
        entries[i].id.lo = i + 1;
        entries[i].value = pawl_bytes_of("0123456789", 10);
    }
    load.slot.slot = 4095;
    assert_int_equal(rig_do(&rig, slot_save(1, entries, PAWL_SLOT_SAVE_MAX)), PAWL_ENGINE_WON);
    assert_int_equal(rig_do(&rig, load), PAWL_ENGINE_WON);
    assert_int_equal(rig.last.slot.count, PAWL_SLOT_SAVE_MAX);
    for (uint32_t i = 0; i < PAWL_SLOT_SAVE_MAX; i++) {
        entries[i].value.size = 0;
    }
    assert_int_equal(rig_do(&rig, slot_save(1, entries, PAWL_SLOT_SAVE_MAX)), PAWL_ENGINE_WON);
    assert_int_equal(rig_do(&rig, load), PAWL_ENGINE_WON);
    assert_int_equal(rig.last.slot.count, 0);
    rig_stop(&rig);
}

/* ---- the smallest user ---- */

/* As deploy/README.md has it: these commands, these keys. */
#define SMALL_USER                                                                      \
    "ACL SETUSER small on >pw resetkeys ~{t:* "                                         \
    "+eval +xread +hmget +wait +exists +ping +info +role +config|get "                  \
    "+client|setname +client|id +client|no-evict +client|kill "                         \
    "+time +zadd +zrem +zrevrange +hset +hget +hgetall +hdel +hlen +hexists +get +set " \
    "+smembers +sadd +xadd +xlen +xrange +xrevrange +xtrim +xinfo|stream +del "         \
    "+pexpire +pexpireat"

static void a_user_of_the_needed_commands_can_do_it_all(void **state)
{
    const struct pawl_slot_entry entry = { { 1, 2 }, { (const uint8_t *)"count", 5 } };
    struct pawl_engine_command all[14] = { rig_announce(1, ""), rig_append(1, 1, "a"),
                                           family_set(0, 1, "one"), slot_save(1, &entry, 1) };
    struct pawl_slot_entry gone = entry;

    (void)state;
    NEED_REDIS();
    rig_admin_do(&server, SMALL_USER);
    rig_admin_do(&server, "CONFIG SET appendonly yes");
    rig.options.user = "small";
    rig.options.password = "pw";
    up();
    assert_string_equal(rig.state.warning, "");
    gone.value.size = 0;
    all[4].verb = PAWL_ENGINE_GATE_READY;
    all[5].verb = PAWL_ENGINE_GATE_OPEN;
    all[6].verb = PAWL_ENGINE_FAMILY_GET;
    all[7].verb = PAWL_ENGINE_SLOT_LOAD;
    all[8].verb = PAWL_ENGINE_TRIM;
    all[8].trim.origin = rig_origin(1);
    all[8].trim.position = 2;
    all[9] = rig_append(1, 2, "b"); /* behind one that was trimmed empty */
    all[10].verb = PAWL_ENGINE_VIEW_SET;
    all[10].view_set.number = 1;
    all[11].verb = PAWL_ENGINE_RETIRE;
    all[12] = rig_wait(0, 10);
    all[13] = slot_save(1, &gone, 1);
    for (unsigned i = 0; i < 14; i++) {
        assert_int_equal(rig_do(&rig, all[i]), PAWL_ENGINE_WON);
    }
    assert_int_equal(read_from(1, 0, 0), PAWL_ENGINE_WON);
    all[8].trim.position = 3;
    assert_int_equal(rig_do(&rig, all[8]), PAWL_ENGINE_WON);
    all[0].verb = PAWL_ENGINE_DROP_ORIGIN;
    all[0].drop.origin = rig_origin(1);
    assert_int_equal(rig_do(&rig, all[0]), PAWL_ENGINE_WON);
    all[1] = family_set(1, 2, "gated");
    all[1].family.gated = true;
    assert_int_equal(rig_do(&rig, all[1]), PAWL_ENGINE_WON);
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_handshake_says_who_the_primary_is, begin, end),
        cmocka_unit_test_setup_teardown(an_announcement_tells_everything, begin, end),
        cmocka_unit_test_setup_teardown(a_retired_member_is_no_longer_named, begin, end),
        cmocka_unit_test_setup_teardown(a_view_gives_way_to_a_higher_number_only, begin, end),
        cmocka_unit_test_setup_teardown(what_is_no_view_is_written_over_whatever_its_number, begin,
                                        end),
        cmocka_unit_test_setup_teardown(entries_are_read_as_they_were_appended, begin, end),
        cmocka_unit_test_setup_teardown(a_blocked_read_holds_up_nobody_and_ends_with_the_entry,
                                        begin, end),
        cmocka_unit_test_setup_teardown(an_append_leaves_no_hole, begin, end),
        cmocka_unit_test_setup_teardown(after_a_flush_no_append_follows_what_is_gone, begin, end),
        cmocka_unit_test_setup_teardown(a_trimmed_stream_goes_on_and_an_empty_one_can_be_dropped,
                                        begin, end),
        cmocka_unit_test_setup_teardown(ends_of_many_streams_are_told_and_a_deleted_one_is_noticed,
                                        begin, end),
        cmocka_unit_test_setup_teardown(a_family_is_written_on_its_version_only, begin, end),
        cmocka_unit_test_setup_teardown(a_closed_gate_keeps_families_from_being_written, begin,
                                        end),
        cmocka_unit_test_setup_teardown(a_slot_is_saved_by_its_latest_owner_only, begin, end),
        cmocka_unit_test_setup_teardown(a_full_save_goes_through_and_comes_back, begin, end),
        cmocka_unit_test_setup_teardown(a_user_of_the_needed_commands_can_do_it_all, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
