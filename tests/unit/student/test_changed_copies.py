"""Changed copies of texts, as acquire=instability makes them."""

from __future__ import annotations

from tutelage.student.changed_copies import changed_copies

TEXT = "play some quiet jazz for me and my friends tonight"


def test_copies_leave_out_or_swap_a_share_of_the_words_and_follow_from_seed_and_text() -> None:
    words = TEXT.split(" ")
    copies = changed_copies(TEXT, 6, 0.3, by_word=False, fixed=(), seed=1)
    for number, copy in enumerate(copies):
        assert copy.text == " ".join(words[index] for index in copy.kept)
        if number % 2:
            assert sorted(copy.kept) == list(range(10))
            assert 2 <= sum(word != place for place, word in enumerate(copy.kept)) <= 6
        else:
            assert len(copy.kept) < 10
    assert len({copy.text for copy in copies}) == 6
    assert changed_copies(TEXT, 6, 0.3, by_word=False, fixed=(), seed=1) == copies
    assert changed_copies(TEXT, 6, 0.3, by_word=False, fixed=(), seed=2) != copies


def test_entities_stay_whole() -> None:
    fixed = {2, 3, 4}
    for copy in changed_copies(TEXT, 20, 0.5, by_word=True, fixed=fixed, seed=1):
        assert "quiet jazz for" in copy.text
        assert fixed < set(copy.kept)


def test_chinese_changes_by_character_unless_words_have_labels() -> None:
    text = "今天天气很好我们去公园散步"
    for copy in changed_copies(text, 4, 0.2, by_word=False, fixed=(), seed=1):
        assert copy.text != text
        assert " " not in copy.text
        assert set(copy.text) <= set(text)
    spaced = " ".join(text)
    for copy in changed_copies(spaced, 4, 0.2, by_word=True, fixed=(), seed=1):
        assert copy.text == " ".join(text[index] for index in copy.kept)


def test_a_single_word_and_no_word_stay() -> None:
    for text in ("jazz", ""):
        assert {
            copy.text for copy in changed_copies(text, 3, 0.5, by_word=False, fixed=(), seed=1)
        } == {text}
