/*
 * The texts that run inside the engine. They are sent whole each time (EVAL): an EVALSHA that
 * meets an emptied script cache in the middle of a pipeline cannot be repaired, for what was sent
 * behind it has run by then. Measured, that costs the engine 2 us of 8.
 *
 * Each begins with "#!lua", so that the engine refuses it before its first write where it is no
 * primary, lacks replicas or cannot save; scripts do not roll back. "allow-oom" stands where what
 * is written is small and bounded, or is what the project exists for: a flood of counters that
 * fills the engine must neither end the members' tenure nor keep a revocation out.
 *
 * Replies are {1, ...} for WON and {0, ...} for REFUSED; {2} for a closed gate.
 */
#ifndef PAWL_ADAPTER_REDIS_SCRIPTS_H
#define PAWL_ADAPTER_REDIS_SCRIPTS_H

/* KEYS members, info, view, origins, gate, ready; ARGV self, info, prefix of streams */
extern const char pawl_script_announce[];
/* KEYS view; ARGV number, bytes, base or "", the bytes that it is written over or "" */
extern const char pawl_script_view_set[];
/* KEYS members, info; ARGV member */
extern const char pawl_script_retire[];
/* KEYS stream, origins; ARGV position, the one that it follows, entry, origin */
extern const char pawl_script_append[];
/* KEYS stream, origins; ARGV the first position that stays, origin */
extern const char pawl_script_trim[];
/* KEYS stream, origins; ARGV origin */
extern const char pawl_script_drop[];
/* KEYS ready; ARGV member */
extern const char pawl_script_ready[];
/* KEYS gate; ARGV epoch, replid or "" */
extern const char pawl_script_open[];
/* KEYS family, gate; ARGV version, next, value, until_ms, epoch or "", replid or "" */
extern const char pawl_script_family_new[];
extern const char pawl_script_family_next[];
/* KEYS slot; ARGV view, owner, keep_ms, count of records to write, (id, value)..., id to delete...
 */
extern const char pawl_script_slot_save[];
/* KEYS slot; ARGV most fields */
extern const char pawl_script_slot_load[];

#endif
