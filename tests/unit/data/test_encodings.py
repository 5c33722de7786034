"""Encodings: marks settle them, guesses are told as such with a word of each candidate."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.data.encodings import Encoding, decode
from tutelage.errors import ConfigError, DataError

FILE = Path("train.csv")
TEXTS = {
    "English": "He said “hello”, it’s nice",
    "Portuguese": "Vai chover amanhã em Évora? Que tempo fará no sábado em São João?",
    "French": "L'été dernier j'ai mangé des pâtes à la crème près de la forêt où il a neigé",
    "German": "Können Sie morgen früh größere Bäume fällen? Übermäßig schöne Straßen",
    "Spanish": "¿Lloverá mañana en Málaga? El niño comió jamón",
    "Polish": "Czy jutro będzie padać śnieg w Łodzi? Żółw źle się czuje, proszę",
    "Czech": "Příliš žluťoučký kůň úpěl ďábelské ódy zítra ráno",
    "Russian": "Будет ли завтра дождь в Москве? Включи музыку, пожалуйста",
    "Greek": "Θα βρέξει αύριο στην Αθήνα; Παίξε μουσική",
    "Turkish": "Yarın İstanbul'da yağmur yağacak mı? Şarkı çal, güneş doğuyor",
    "Japanese": "明日は雨が降りますか？音楽をかけてください。カタカナ",
    "Chinese": "明天北京会下雨吗？请播放音乐，谢谢你",
    "Korean": "내일 서울에 비가 올까요? 음악을 틀어 주세요",
}


def refusal(data: bytes, encoding: Encoding | None = None) -> str:
    with pytest.raises(DataError) as caught:
        decode(FILE, data, encoding or Encoding())
    return str(caught.value)


@pytest.mark.parametrize(
    ("language", "encoding", "first"),
    [
        ("Portuguese", "cp1252", "cp1252"),
        ("Portuguese", "latin-1", "cp1252"),
        ("Portuguese", "mac_roman", "mac_roman"),
        ("French", "cp1252", "cp1252"),
        ("French", "mac_roman", "mac_roman"),
        ("German", "cp1252", "cp1252"),
        ("Spanish", "cp1252", "cp1252"),
        ("Czech", "cp1250", "cp1250"),
        ("Russian", "cp1251", "cp1251"),
        ("Russian", "koi8-r", "koi8_r"),
        ("Russian", "cp866", "cp866"),
        ("Greek", "cp1253", "cp1253"),
        ("Japanese", "shift_jis", "shift_jis"),
        ("Japanese", "euc_jp", "euc_jp"),
        ("Chinese", "gb18030", "gb18030"),
        ("Korean", "euc_kr", "euc_kr"),
    ],
)
def test_the_first_guess_reads_the_text(language: str, encoding: str, first: str) -> None:
    text = f"text,label\n{TEXTS[language]},x\n"
    message = refusal(text.encode(encoding))
    advised = re.search(r"data\.encoding=(\w+)", message.partition("to the one")[2] or message)
    assert advised is not None
    assert advised[1] == first
    assert decode(FILE, text.encode(encoding), Encoding(first)) == (text, [])
    assert any(word in message for word in re.findall(r"\w{3,16}", TEXTS[language]))


@pytest.mark.parametrize(
    ("language", "encoding", "words"),
    [
        ("Portuguese", "cp1252", "amanhã (cp1252) or amanhă (cp1250)"),
        ("Polish", "cp1250", "bêdzie (cp1252) or będzie (cp1250)"),
        ("Turkish", "cp1254", "yaðmur (cp1252) or yađmur (cp1250) or yağmur (cp1254)"),
        ("English", "cp1252", "“hello” (cp1252) or ìhelloî (mac_roman)"),
        ("Czech", "iso8859_2", "Přílią (cp1250) or Příliš (iso8859_2)"),
    ],
)
def test_where_several_decode_each_shows_a_word(language: str, encoding: str, words: str) -> None:
    message = refusal(f"text,label\n{TEXTS[language]},x\n".encode(encoding))
    assert f"Which encoding it has is a guess: {words}" in message


def test_the_byte_the_line_and_the_commands_are_named() -> None:
    message = refusal("text\nplain\nsão\n".encode("cp1252"))
    assert message.startswith("train.csv is not utf-8: byte 0xe3 at offset 12 (line 3). ")
    assert "iconv -f cp1252 -t utf-8 train.csv > converted.csv" in message
    assert "set --encoding cp1252, or" in refusal(
        "text\nEs können größere sein\n".encode("cp1252"), Encoding("utf-8", "--encoding ")
    )
    with pytest.raises(DataError) as caught:
        decode(Path("train.csv.gz"), "Größe".encode("cp1252"), Encoding())
    assert "iconv" not in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("expected", ["utf-8", "utf-8-sig"])
def test_a_mark_settles_the_encoding(encoding: str, expected: str) -> None:
    text = "text,label\nnaïve 🦊,x\n"
    assert decode(FILE, text.encode(encoding), Encoding(expected)) == (text, [])


@given(st.text(st.characters(codec="utf-8", exclude_characters="\ufeff\r\0"), min_size=1))
def test_no_mark_stays_in_a_text(text: str) -> None:
    for data in (
        ("\ufeff" + text).encode("utf-8"),
        codecs.BOM_UTF8 + ("\ufeff" + text).encode("utf-8"),
        codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
        (text + "\n\ufeff" + text).encode("utf-8-sig"),
    ):
        assert "\ufeff" not in decode(FILE, data, Encoding())[0]


@pytest.mark.parametrize("name", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark_is_named(name: str) -> None:
    data = "text,label\nnaïve,x\n".encode(name)
    advised = name.replace("16-", "16")
    assert f"as in {advised}. Set data.encoding={advised}" in refusal(data)
    assert decode(FILE, data, Encoding(advised))[0].endswith("naïve,x\n")


@pytest.mark.parametrize("name", ["cp1252", "latin-1", "mac_roman"])
def test_a_setting_that_the_file_contradicts_is_told(name: str) -> None:
    data = "text\nplain amanhã\n".encode()
    _, (warning,) = decode(FILE, data, Encoding(name))
    assert f"is valid utf-8 (“amanhã”), but data.encoding={name} reads it as “amanh" in warning
    text, (warning,) = decode(FILE, codecs.BOM_UTF8 + data, Encoding(name))
    assert "amanhã" in text
    assert f"was read as utf-8, as its byte order mark says, not as data.encoding={name}" in warning
    assert decode(FILE, b"plain\n", Encoding(name)) == ("plain\n", [])
    assert decode(FILE, "amanhã e São João\n".encode("cp1252"), Encoding("cp1252"))[1] == []


def test_a_utf_8_file_with_a_few_other_bytes_is_no_other_encoding() -> None:
    message = refusal("über München\n".encode() + b"caf\xe9\n")
    assert (
        "(line 2). All but 1 of its characters beyond ASCII are utf-8. Correct the line" in message
    )
    assert "It looks like utf-8: set data.encoding=utf-8" in refusal(
        "über München\n".encode(), Encoding("ascii")
    )


def test_bytes_that_are_no_text_at_all() -> None:
    assert "No encoding fits it well" in refusal(bytes(range(128, 256)) * 40)


@pytest.mark.parametrize("name", ["latin-seven", "rot13", "base64", ""])
def test_an_unknown_encoding(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"no encoding '{name}'. Set data.encoding= to a known"):
        decode(FILE, b"text\n", Encoding(name))


def test_lines_that_end_with_a_carriage_return_alone() -> None:
    assert decode(FILE, b"a\rb\r", Encoding())[0] == "a\nb\n"
    assert decode(FILE, b"a\r\nb\r\n", Encoding())[0] == "a\r\nb\r\n"


def test_a_short_western_file_offers_cp1252_first_even_if_another_fits_as_well() -> None:
    text = "text,label\nVamos à praia amanhã de manhã,a\nA refeição põe-se à mesa,b\nNão há pão,a\n"
    message = refusal(text.encode("cp1252"))
    assert "amanhã (cp1252) or amanhă (cp1250)" in message


def test_utf_16_without_a_mark_is_named_in_any_script() -> None:
    text = "text,label\nПривет мир как дела,a\nСегодня хорошая погода,b\n"
    for name in ("utf-16le", "utf-16be"):
        assert f"data.encoding={name}" in refusal(text.encode(name))
