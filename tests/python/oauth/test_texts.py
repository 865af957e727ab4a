"""The texts of OAuth tokens: one text for each token, and nothing else is read as one."""

import uuid

from hypothesis import given, settings
from hypothesis import strategies as some

from pawl.oauth import texts
from pawl.oauth.texts import Place

places = some.builds(
    Place, sid=some.uuids().map(str), generation=some.integers(0, 2**64 - 1),
    exp_s=some.integers(0, 2**64 - 1), seed=some.binary(min_size=16, max_size=16))
patiently = settings(deadline=None, database=None)
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@patiently
@given(places)
def test_a_refresh_token_says_where_it_stands(place):
    pair = texts.pairs(place)[0]
    assert texts.read_refresh(pair.refresh) == place
    assert texts.family_of(pair.refresh) == texts.family_of(pair.access) == place.sid
    assert texts.read_refresh(pair.access) is None
    assert len(pair.access) == 68 and len(pair.refresh) == 111  # the toolkit's columns have 255


@patiently
@given(places, some.integers(4, 110), some.sampled_from(LETTERS))
def test_no_letter_of_it_can_be_changed(place, index, letter):
    text = texts.pairs(place)[0].refresh
    changed = text[:index] + letter + text[index + 1:]
    assert (texts.read_refresh(changed) is None) == (changed != text)


@patiently
@given(some.text(), some.sampled_from(("", texts.ACCESS, texts.REFRESH)))
def test_any_other_text_is_none_of_ours(text, prefix):
    assert texts.read_refresh(prefix + text) is None
    family = texts.family_of(prefix + text)
    assert family == "" or str(uuid.UUID(family)) == family


@patiently
@given(places, places)
def test_two_places_have_nothing_in_common_but_their_family(one, other):
    first, second = texts.pairs(one)[0], texts.pairs(other)[0]
    assert (first == second) == (one == other)
    assert first.access[26:] != first.refresh[26:]
