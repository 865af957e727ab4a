#include "options.h"

#define BIT(id) ((option_set)1 << OPTION_##id##_ID)

_Static_assert(OPTION_COUNT <= 128, "sets of options have 128 bits");

static const struct option_spec option_table[OPTION_COUNT] = {
#define X(id, name, argument, kind, help) { name, argument, OPTION_##kind, help },
    OPTION_MAP(X)
#undef X
};

#define COUNTED (BIT(RATE) | BIT(LIMIT))
#define INLINE  (BIT(PRECISION) | BIT(ALGORITHM) | BIT(BURST))
#define WRITTEN (BIT(ISS) | BIT(ACK))
#define CLAIMS \
    (BIT(JTI) | BIT(ISS) | BIT(SUB) | BIT(IAT) | BIT(EXP) | BIT(SID) | BIT(KID) | BIT(CLIENT))

static const struct command_spec command_table[] = {
    { COMMAND_CHECK, "check", "KEY... | LIMIT=KEY...", "may these keys go on? asks and charges",
      "With --rate or --limit each KEY is a key of its own, also one with \"=\" in it; without "
      "them\n"
      "each argument names its limit. Several: all are charged or none (--mode atomic).\n"
      "Exit code 0: allowed. 1: denied. 3: nobody could tell.",
      COUNTED | BIT(COST) | BIT(PEEK) | BIT(MODE) | INLINE, 0, 1, ARGUMENTS_MAX },
    { COMMAND_PEEK, "peek", "KEY... | LIMIT=KEY...", "the same without charging", "",
      COUNTED | BIT(COST) | BIT(MODE) | INLINE, 0, 1, ARGUMENTS_MAX },
    { COMMAND_REFUND, "refund", "KEY | LIMIT=KEY", "take a charge back",
      "Without --charge the oldest entry is lowered. Exit code 1: nothing was left to give back.",
      COUNTED | INLINE | BIT(COST) | BIT(CHARGE), 0, 1, 1 },
    { COMMAND_RESET, "reset", "KEY... | LIMIT=KEY...", "forget what keys have used", "",
      COUNTED | INLINE, 0, 1, ARGUMENTS_MAX },
    { COMMAND_LIMITS, "limits", "[NAME]", "the limits of the daemon's configuration", "", 0, 0, 0,
      1 },
    { COMMAND_REVOKE, "revoke", "WHAT", "refuse tokens from now on",
      "WHAT is one of\n"
      "  token --jti J --exp T          one token\n"
      "  family --sid F                 all refresh tokens of a login\n"
      "  subject --sub S [--before T]   all tokens of a subject\n"
      "  client --client C [--before T] all of a client\n"
      "  key --kid K [--before T]       all signed by a key\n"
      "  namespace [--before T]         all of the namespace\n"
      "  opaque [--exp T]               an opaque token or API key, on standard input\n"
      "  jwt [--family]                 a whole JWT, on standard input, or its family\n"
      "Exit code 3: not done, or at less than the level asked for with --ack.",
      WRITTEN | BIT(JTI) | BIT(EXP) | BIT(SID) | BIT(SUB) | BIT(CLIENT) | BIT(KID) | BIT(BEFORE) |
          BIT(REASON) | BIT(ACTOR) | BIT(FAMILY),
      0, 1, 1 },
    { COMMAND_UNREVOKE, "unrevoke", "ID...", "cancel revocations of tokens by their ids",
      "Ids as revoke printed them, of the namespace (--ns). Families and cutoffs cannot be\n"
      "cancelled.",
      BIT(ACK) | BIT(ACTOR), 0, 1, ARGUMENTS_MAX },
    { COMMAND_TOKEN_CHECK, "token check", "", "is a token, known by its claims, still good?",
      "Exit code 0: valid. 1: revoked, expired or invalid. 3: nobody could tell.",
      CLAIMS | BIT(OPAQUE), 0, 0, 0 },
    { COMMAND_TOKEN_VERIFY, "token verify", "",
      "is the JWT on standard input signed right, and still good?",
      "The daemon verifies it with its own keys. Exit code 0: valid. 1: revoked, expired or\n"
      "invalid. 3: nobody could tell.",
      BIT(ISS) | BIT(AUD) | BIT(TYPE), 0, 0, 0 },
    { COMMAND_TOKEN_MINT, "token mint", "", "make a signed JWT, for tests and demos",
      "No daemon is asked. Without --iat it is issued now, without --exp it lives five minutes;\n"
      "--claim exp=null leaves a claim out.",
      CLAIMS | BIT(AUD) | BIT(ALG) | BIT(KEY) | BIT(SECRET_FILE) | BIT(TYP) | BIT(CLAIM), BIT(ALG),
      0, 0 },
    { COMMAND_FAMILY_OPEN, "family open", "", "a login: begin a family of refresh tokens", "",
      WRITTEN | BIT(SUB) | BIT(JTI) | BIT(IAT) | BIT(EXP) | BIT(CLIENT) | BIT(BINDING),
      BIT(SUB) | BIT(JTI) | BIT(EXP), 0, 0 },
    { COMMAND_FAMILY_END, "family end", "", "a log-out: end a family", "",
      WRITTEN | BIT(SID) | BIT(EXP) | BIT(REASON) | BIT(ACTOR), BIT(SID), 0, 0 },
    { COMMAND_ROTATE, "rotate", "", "exchange a refresh token for its successor",
      "--exp is the successor's. Exit code 0: rotated, grace, adopted. 1: raced and refusals.\n"
      "3: unavailable; ask again with the same --to.",
      WRITTEN | BIT(SID) | BIT(FROM) | BIT(TO) | BIT(EXP) | BIT(FROM_IAT) | BIT(FROM_EXP) |
          BIT(GEN) | BIT(SUB) | BIT(CLIENT) | BIT(BINDING) | BIT(LEEWAY) | BIT(ADOPT) |
          BIT(VERIFIED),
      BIT(FROM) | BIT(EXP), 0, 0 },
    { COMMAND_STATUS, "status", "[PREFIX]", "the daemon's figures", "", 0, 0, 0, 1 },
    { COMMAND_MEMBERS, "members", "", "who is in the fleet, as this node knows it", "", 0, 0, 0,
      0 },
    { COMMAND_THAW, "thaw", "", "end the frozen state after facts were lost",
      "Every token issued up to the moment of the thaw is refused from then on, in all "
      "namespaces:\n"
      "that wants the role admin in all of them.",
      BIT(LOST_SINCE) | BIT(ACTOR), BIT(LOST_SINCE), 0, 0 },
    { COMMAND_PING, "ping", "", "does somebody answer?", "", 0, 0, 0, 0 },
    { COMMAND_RESERVE, "reserve", "KEY... | LIMIT=KEY...",
      "take between --min and --max now, say later how much it was",
      "What is not used goes back with commit, all of it with cancel; without either it stays\n"
      "charged. Exit code 0: granted. 1: less than --min is left. 3: nobody could tell.",
      COUNTED | INLINE | BIT(MIN) | BIT(MAX) | BIT(LEASE), 0, 1, ARGUMENTS_MAX },
    { COMMAND_COMMIT, "commit", "LEASE", "so much of a reservation was used",
      "LEASE as reserve printed it. Exit code 1: it is over, used or unknown; its charge stays.",
      BIT(USED), BIT(USED), 1, 1 },
    { COMMAND_CANCEL, "cancel", "LEASE", "nothing of a reservation was used",
      "Exit code 1: it is over, used or unknown; its charge stays.", 0, 0, 1, 1 },
    { COMMAND_TOP, "top", "", "what each limit does, who is denied most, what was revoked",
      "Again and again on a terminal, once elsewhere; --count says how often. Keys are masked.",
      BIT(INTERVAL) | BIT(COUNT), 0, 0, 0 },
    { COMMAND_WATCH, "watch", "", "print revocations as they happen",
      "A line each, with --json an object each. Without --since or --snapshot: from now on.",
      BIT(SINCE) | BIT(SNAPSHOT) | BIT(COUNT), 0, 0, 0 },
    { COMMAND_EXPORT, "export", "", "write all revocations held, as lines of JSON",
      "To standard output or a new file; canceled ones are left out. import reads it back.",
      BIT(OUT) | BIT(PROGRESS), 0, 0, 0 },
    { COMMAND_IMPORT, "import", "[FILE]", "revoke what the lines of a file say",
      "Lines of JSON as export writes them: scope and value (or sha256), and where known\n"
      "namespace, issuer, exp, before_ms, reason, actor. Doing it twice does no harm. Exit code "
      "1:\n"
      "some lines were refused. 3: it stopped before the end.",
      BIT(ACK) | BIT(PROGRESS), 0, 0, 1 },
    { COMMAND_COMPLETION, "completion", "SHELL", "a completion script for bash, zsh or fish", "", 0,
      0, 1, 1 },
    { COMMAND_BENCH, "bench", "", "put load on a running daemon and measure",
      "Exit code 0: every request was answered, whatever the verdicts.",
      COUNTED | BIT(KEYS) | BIT(REQUESTS) | BIT(SECONDS) | BIT(CONNECTIONS) | BIT(IN_FLIGHT), 0, 0,
      0 },
    { COMMAND_HELP, "help", "[COMMAND]", "say what there is, or what a command takes", "", 0, 0, 0,
      2 },
};

const struct option_spec *option_spec(enum option_id id)
{
    return &option_table[id];
}

const struct command_spec *command_spec(enum command_id id)
{
    for (size_t i = 0; i < sizeof(command_table) / sizeof(command_table[0]); i++) {
        if (command_table[i].id == id) {
            return &command_table[i];
        }
    }
    return NULL;
}
