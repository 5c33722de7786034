"""Labels are found among a server's likely tokens with a real model's tokenizer, too."""

from __future__ import annotations

import pytest
from tests.helpers.tokenizer_kinds import LETTERS, SPELLINGS

from tutelage.teacher.engines.model_files import find_tokenizer
from tutelage.teacher.engines.server_replies import TopToken
from tutelage.teacher.engines.server_tokens import find, spellings

WORDS = (" weather", " music", " café", " музыка", " ночь", " straße", " 12", " the", ":", "\n")
BYTES = {letter: byte for byte, letter in LETTERS.items()}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_word_is_found_in_every_spelling(embedded_teacher: str, spelling: str):
    tokenizer = find_tokenizer(embedded_teacher)
    firsts = [ids[0] for ids in tokenizer(list(WORDS), add_special_tokens=False)["input_ids"]]
    pieces = [tokenizer.convert_ids_to_tokens(token) for token in firsts]
    names = [SPELLINGS[spelling](bytes(BYTES[letter] for letter in piece)) for piece in pieces]
    whole = [n for n, name in enumerate(names) if "\ufffd" not in name]
    seen = [TopToken(name, -0.5 * n) for n, name in enumerate(names)]
    found = find(seen, firsts, spellings(tokenizer, firsts))
    assert [found.logprobs[n] for n in whole] == [-0.5 * n for n in whole]
    assert found.missing == len(names) - len(whole)
