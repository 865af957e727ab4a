"""Replies as answers, and the answers to what nobody replied to.

A decoder gets the values of a reply's body (in the order of its table) and what is remembered of
the request.
"""

from typing import Any, Dict, Iterable, List, Optional, Tuple

from .._types import (CheckAnswer, Claims, CommitAnswer, FactName, FamilyOpenAnswer, Info,
                      LimitInfo, LimitsAnswer, PingAnswer, Rate, RateAnswer, RefundAnswer,
                      ReserveAnswer, ResetAnswer, RevokeAnswer, RotateAnswer, StatsAnswer,
                      TokenAnswer, TokenCheckAnswer, UnrevokeAnswer)

#: What a cause says to a person where nothing better is known (client/src/text.c).
TEXTS = {
    "invalid": "not valid",
    "full": "full: a ceiling is reached",
    "unavailable": "the daemon cannot answer now",
    "canceled": "canceled",
    "timeout": "no answer within the deadline",
    "not_found": "not found",
    "not_permitted": "not permitted on this connection",
    "protocol": "the peer does not speak pawl's protocol",
    "unsupported": "not known to this version of the daemon",
    "frozen": "the store is frozen until thaw",
    "connect": "no address answers",
    "lost": "the connection broke before the answer came",
}

READ = Info("daemon", "ok", "none")
DONE = Info("daemon", "ok", "done")
_NO_ANSWER = TokenAnswer("undecided", detail="no_answer")
_NO_NAME = FactName(b"", 0)


def _name(values: Optional[List[Any]]) -> FactName:
    return _NO_NAME if values is None else FactName(values[0][:16], values[1])


def _denied(rates: Iterable[RateAnswer]) -> Tuple[int, bool]:
    """The longest wait of those that deny, and whether one of them denies for ever."""
    retry_after_ms, never = 0, False
    for rate in rates:
        if not rate.allowed and not rate.shadow:
            never = never or rate.never
            if rate.retry_after_ms > retry_after_ms:
                retry_after_ms = rate.retry_after_ms
    return retry_after_ms, never


def _token(values: List[Any]) -> TokenAnswer:
    if values[6] is not None:
        values = [*values[:6], Claims._make(values[6])]
    return TokenAnswer._make(values)


# ---- of the daemon -------------------------------------------------------------------------------


def check(values: List[Any], peek: bool, each: bool) -> CheckAnswer:
    outcome, results, token = values
    rates = tuple(map(RateAnswer._make, results))
    retry_after_ms, never = _denied(rates)
    if each:
        charged = any(rate.allowed for rate in rates)
    else:
        charged = outcome == "allow" and bool(rates)
    return CheckAnswer(outcome, DONE if charged and not peek else READ, rates,
                       None if token is None else _token(token), retry_after_ms, never)


def token_check(values: List[Any], _: str) -> TokenCheckAnswer:
    return TokenCheckAnswer(READ, _token(values))


def refund(values: List[Any], _: str) -> RefundAnswer:
    return RefundAnswer(DONE, tuple(values[0]))


def reset(values: List[Any], _: str) -> ResetAnswer:
    return ResetAnswer(DONE, values[0])


def reserve(values: List[Any], _: str) -> ReserveAnswer:
    outcome, granted, lease, lease_ms, results = values
    rates = tuple(map(RateAnswer._make, results))
    retry_after_ms, never = _denied(rates)
    return ReserveAnswer(outcome, DONE if granted else READ, granted, lease if granted else b"",
                         lease_ms, rates, retry_after_ms, never)


def commit(values: List[Any], _: str) -> CommitAnswer:
    return CommitAnswer(DONE, values[0])


def revoke(values: List[Any], _: str) -> RevokeAnswer:
    return RevokeAnswer(DONE, values[0], values[1], _name(values[2]), values[3])


def unrevoke(values: List[Any], _: str) -> UnrevokeAnswer:
    return UnrevokeAnswer(DONE, values[1], values[0], _name(values[2]))


def family_open(values: List[Any], jti: str) -> FamilyOpenAnswer:
    sid, exp_s, acknowledged, family_exp_s = values
    return FamilyOpenAnswer(DONE, acknowledged, sid, jti, exp_s, family_exp_s)


def rotate(values: List[Any], proposed: str) -> RotateAnswer:
    (result, reason, generation, successor, iat_s, exp_s, sid, superseded, row, retry_after_ms,
     family_exp_s, subject, sha256, seed) = values
    info = DONE
    if result == "unavailable":  # a word of a later version, too: that is no 401
        info = Info("daemon", "unavailable", "unknown", TEXTS["unavailable"])
    return RotateAnswer(info, result, reason, generation, successor, iat_s, exp_s, sid, subject,
                        proposed, superseded, row, retry_after_ms, family_exp_s,
                        sha256 if len(sha256) == 32 else b"", seed)


def limits(values: List[Any], _: str) -> LimitsAnswer:
    found = []
    for info in values[0]:
        name, rates, precision, on_error, count_denied, shadow, when_full, ns, algorithm = info
        found.append(LimitInfo(name, ns, tuple(map(Rate._make, rates)), precision, on_error,
                               count_denied, shadow, algorithm, when_full))
    return LimitsAnswer(READ, tuple(found), values[1])


def stats(values: List[Any], _: str) -> StatsAnswer:
    figures: Dict[str, Any] = {}
    for name, value, text, is_flag in values[0]:
        figures[name] = text if text else bool(value) if is_flag else value
    return StatsAnswer(READ, figures)


def ping(_: List[Any], __: str) -> PingAnswer:
    return PingAnswer(READ)


# ---- of nobody -----------------------------------------------------------------------------------


def no_check(info: Info, _: str) -> CheckAnswer:
    return CheckAnswer("undecided", info)


def no_token_check(info: Info, _: str) -> TokenCheckAnswer:
    return TokenCheckAnswer(info, _NO_ANSWER)


def no_reserve(info: Info, _: str) -> ReserveAnswer:
    return ReserveAnswer("undecided", info)


def no_rotate(info: Info, proposed: str) -> RotateAnswer:
    result = {"invalid": "invalid", "not_permitted": "denied"}.get(info.cause, "unavailable")
    return RotateAnswer(info, result, proposed=proposed)


def no_family_open(info: Info, jti: str) -> FamilyOpenAnswer:
    return FamilyOpenAnswer(info, jti=jti)
