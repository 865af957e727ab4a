#include "facts.h"

#include "output.h"

#include <stdio.h>
#include <string.h>

static bool is_digest(enum pawl_revoke_scope scope)
{
    return scope == PAWL_REVOKE_SIGNED || scope == PAWL_REVOKE_OPAQUE;
}

static json_t *text_json(const struct pawl_text *text)
{
    return output_text(text->data, text->size);
}

static json_t *hex_json(const struct pawl_text *text)
{
    char hex[2 * FACT_SHA256_BYTES + 1];

    hex_format((const uint8_t *)text->data,
               text->size < FACT_SHA256_BYTES ? text->size : FACT_SHA256_BYTES, hex);
    return json_string(hex);
}

static void cancels_add(json_t *object, const struct pawl_fact_info *fact)
{
    json_t *ids = json_array();

    for (uint32_t i = 0; i < fact->cancel_count; i++) {
        char id[FACT_TEXT_BYTES];

        fact_text_format(&fact->cancels[i], id);
        json_array_append_new(ids, json_string(id));
    }
    json_object_set_new(object, "cancels", ids);
}

static void revocation_add(json_t *object, const struct pawl_fact_info *fact)
{
    json_object_set_new(object, "scope", json_string(pawl_revoke_scope_text(fact->scope)));
    json_object_set_new(object, "namespace", text_json(&fact->ns));
    json_object_set_new(object, "issuer", text_json(&fact->issuer));
    if (is_digest(fact->scope)) {
        json_object_set_new(object, "sha256", hex_json(&fact->value));
    } else {
        json_object_set_new(object, "value", text_json(&fact->value));
    }
    json_object_set_new(object, "before_ms", output_number(fact->before_ms));
    json_object_set_new(object, "exp", output_number(fact->exp_s));
    json_object_set_new(object, "until", output_number(fact->until_s));
    json_object_set_new(object, "reason", json_string(pawl_why_text(fact->reason)));
}

json_t *fact_json(const struct pawl_fact_info *fact)
{
    json_t *object = json_object();
    char id[FACT_TEXT_BYTES];

    fact_text_format(&fact->id, id);
    json_object_set_new(object, "id", json_string(id));
    if (fact->cancel_count > 0) {
        cancels_add(object, fact);
    } else {
        revocation_add(object, fact);
    }
    json_object_set_new(object, "actor", text_json(&fact->actor));
    json_object_set_new(object, "at_ms", output_number(fact->at_ms));
    return object;
}

/* ---- reading ------------------------------------------------------------------------------- */

static bool fail(char *error, const char *what)
{
    snprintf(error, PAWL_TEXT_BYTES, "%s", what);
    return false;
}

static bool text_get(const json_t *object, const char *name, struct pawl_str *text, char *error)
{
    const json_t *value = json_object_get(object, name);

    if (value != NULL && !json_is_string(value)) {
        snprintf(error, PAWL_TEXT_BYTES, "%s: not a text", name);
        return false;
    }
    text->data = value != NULL ? json_string_value(value) : NULL;
    text->size = value != NULL ? json_string_length(value) : 0;
    return true;
}

static bool number_get(const json_t *object, const char *name, uint64_t *number, char *error)
{
    const json_t *value = json_object_get(object, name);

    if (value != NULL && (!json_is_integer(value) || json_integer_value(value) < 0)) {
        snprintf(error, PAWL_TEXT_BYTES, "%s: not a whole number", name);
        return false;
    }
    *number = value != NULL ? (uint64_t)json_integer_value(value) : 0;
    return true;
}

static bool digest_get(struct fact_line *line, char *error)
{
    struct pawl_str hex;

    if (!text_get(line->object, "sha256", &hex, error)) {
        return false;
    }
    if (hex.size != 2 * (size_t)FACT_SHA256_BYTES) {
        return fail(error, "sha256: 64 hexadecimal digits are needed; a token itself is not taken");
    }
    if (!hex_parse(hex.data, line->digest, FACT_SHA256_BYTES)) {
        return fail(error, "sha256: 64 hexadecimal digits are needed");
    }
    line->call.value.data = line->digest;
    line->call.value.size = FACT_SHA256_BYTES;
    line->call.flags = PAWL_REVOKE_HASHED;
    return true;
}

static bool scope_get(struct fact_line *line, char *error)
{
    struct pawl_str scope;

    if (!text_get(line->object, "scope", &scope, error)) {
        return false;
    }
    line->call.scope = scope.size > 0 ? pawl_revoke_scope_from_text(scope.data) : PAWL_REVOKE_NONE;
    if (line->call.scope == PAWL_REVOKE_NONE || line->call.scope == PAWL_REVOKE_JWT) {
        return fail(error, "scope: write token, signed, opaque, family, subject, client, key or "
                           "namespace");
    }
    return true;
}

static bool call_read(struct fact_line *line, char *error)
{
    struct pawl_revoke_call *call = &line->call;
    struct pawl_str reason;

    if (!scope_get(line, error) || !text_get(line->object, "namespace", &call->ns, error) ||
        !text_get(line->object, "issuer", &call->issuer, error) ||
        !text_get(line->object, "actor", &call->actor, error) ||
        !text_get(line->object, "reason", &reason, error) ||
        !number_get(line->object, "before_ms", &call->before_ms, error) ||
        !number_get(line->object, "exp", &call->exp_s, error)) {
        return false;
    }
    call->reason = reason.size > 0 ? pawl_why_from_text(reason.data) : PAWL_WHY_NONE;
    if (is_digest(call->scope)) {
        return digest_get(line, error);
    }
    if (!text_get(line->object, "value", &call->value, error)) {
        return false;
    }
    if (call->value.size == 0 && call->scope != PAWL_REVOKE_NAMESPACE) {
        return fail(error, "value: what is revoked is missing");
    }
    return true;
}

static bool is_blank(const char *text, size_t size)
{
    size_t i = 0;

    while (i < size && strchr(" \t\r\n", text[i]) != NULL) {
        i++;
    }
    return i == size;
}

bool fact_line_read(struct fact_line *line, const char *text, size_t size, char *error)
{
    json_error_t why;

    memset(line, 0, sizeof(*line));
    line->call.struct_size = sizeof(line->call);
    if (is_blank(text, size)) {
        return true;
    }
    line->object = json_loadb(text, size, JSON_REJECT_DUPLICATES, &why);
    if (!json_is_object(line->object)) {
        fact_line_end(line);
        return fail(error, why.text[0] != '\0' ? why.text : "not a JSON object");
    }
    if (json_object_get(line->object, "cancels") != NULL ||
        json_object_get(line->object, "pawl_export") != NULL) {
        fact_line_end(line);
        return true;
    }
    if (!call_read(line, error)) {
        fact_line_end(line);
        return false;
    }
    return true;
}

void fact_line_end(struct fact_line *line)
{
    json_decref(line->object);
    line->object = NULL;
}
