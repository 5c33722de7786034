"""What a chat model says around a text, or instead of one: preambles, refusals and remarks."""

from __future__ import annotations

import re

_HEAD = 200
"""Characters of a line in which a preamble ends."""


def ends_open(text: str) -> bool:
    """Whether a line ends with a colon, as a line above a text does."""
    return text.rstrip("*_ \t\n").endswith((":", "："))


# Preambles. Every language has one pattern: an interjection, "here is", a word for an example.

_READY_WORDS = (
    r"¡?(?:sure|certainly|of course|absolutely|gladly|got it|understood|no problem|natürlich|gerne?"
    r"|selbstverständlich|bien sûr|certainement|d'accord|claro|por supuesto|certo|certamente"
    r"|当然可以|当然|好的|конечно)"
)
_WELL = r"(?:(?:okay|ok|alright|hmm|so|well|first|now|great|yes)[,!.]? )*+"
_HERE = (
    r"(?:here(?:'s| is| are| you go)?\b|below\b|the following\b|hier\b|voici\b|voilà\b|aquí\b"
    r"|aqui\b|ecco\b|вот\b|以下|这是|下面|这里)"
)
_EXAMPLE = (
    r"(?:example|sample|utterance|paraphrase|variation|beispiel|exemple|ejemplo|esempio|exemplo"
    r"|voorbeeld|пример|例子?)"
)
_READY = re.compile(rf"{_READY_WORDS}(?: thing)?[\s!.,，。]*", re.I)
_READY_HERE = re.compile(rf"{_READY_WORDS}[^:：]*?(?<![^\W_]){_HERE}", re.I)
_ANOTHER = re.compile(
    rf"{_WELL}(?:{_HERE}|(?:another|one more|a new|next|un autre|otro|un altro)\b|noch ein"
    r"|ein weiter)",
    re.I,
)
_MODEL_NOUN = re.compile(
    r"\b(?:examples?|samples?|sentences?|paraphras\w*|rewrit\w*|rephras\w*|reword\w*|versions?"
    r"|variations?|variants?|utterances?|names?|beispiele?s?|s[aä]tze?|exemples?|phrases?|ejemplos?"
    r"|frases?|esempi|esempio|exemplos?|voorbeelden|voorbeeld|примеры?)\b|例|句",
    re.I,
)
_NO_COLON = re.compile(
    rf"{_READY_WORDS}[!,.，！。]*\s*{_HERE}[^:：]*\Z"
    rf"|{_WELL}here (?:is|are) (?:an?|another|one more|some|the|\d+)(?: more| new| other)? "
    r"(?:examples?|sentences?|paraphrases?|variations?)\b[^:：]*\Z",
    re.I,
)
_COUNTED = re.compile(rf"(?:another |new |next )?{_EXAMPLE}\s*#?\d{{0,3}}\s*[:：.]?", re.I)
_FIELD = re.compile(
    rf"(?:(?:Another |New |Next )?(?i:{_EXAMPLE})(?: text| sentence)?\s*#?\d{{0,3}}"
    r"|(?:(?:Rewritten|New|Paraphrased|Generated) )?(?:[Ss]entence|[Tt]ext)(?: \d{1,3})?"
    r"|Output|Response)\s*[:：]\s*"
)


def is_preamble(line: str) -> bool:
    """Whether a line only says that a text follows: "Sure! Here you go", "Example 3"."""
    return bool(
        _READY.fullmatch(line)
        or _COUNTED.fullmatch(line)
        or _NO_COLON.match(line[:_HEAD].replace("’", "'"))
    )


def preamble_end(line: str) -> int:
    """Returns where the preamble of a line ends; 0 if it has none.

    A preamble is "Sure! Here is another example of music: …", or a name as in "Example 3: …".
    """
    head = line.partition("\n")[0][:_HEAD].replace("’", "'")
    colon = min((at for sign in ":：" if (at := head.find(sign)) >= 0), default=-1)
    before = head[: max(colon, 0)]
    # A sentence that ends before the colon is a text.
    announces = _ANOTHER.match(before) and _MODEL_NOUN.search(before) and ". " not in before
    if _READY_HERE.match(before) or announces:
        return colon + 1
    # "text:" in small letters may be a command.
    name = _FIELD.match(head)
    return name.end() if name and not head[0].islower() else 0


# Refusals.

_MODEL = r"an? (?:ai|artificial intelligence|large language model|language model|chatbot)"
_UNABLE = (
    r"(?:i (?:can(?:'t|not| not)|could not|couldn't|won't|will not|must decline|do not feel"
    r"|don't feel)|i(?:'m| am) (?:unable|not able|not comfortable|not allowed)|unable)\b"
)
_DO = (
    r"(?:creat|generat|produc|writ|provid|fulfil|assist|comply|continu|complet|answer|engag|discuss"
    r"|support|respond|process|do (?:that|this)|help (?:you )?with)"
)
_REFUSAL = re.compile(
    # It speaks of itself.
    rf"as {_MODEL}\b(?: language)?(?: model| assistant| chatbot| system)?(?:,| i\b|\Z)"
    rf"|i(?:'m| am) (?:just |only )?{_MODEL}(?: model| assistant|,|\.| and)"
    r"|als ki\b|als (?:ein )?sprachmodell|en tant qu(?:e modèle|'ia\b|'intelligence)"
    r"|como (?:un )?(?:modelo de (?:lenguaje|ia)|ia\b)|作为(?:一个|一名)?(?:ai|人工智能|语言模型)"
    # It apologises for a text that it does not write.
    rf"|(?:i(?:'m| am) (?:\w+ )?sorry|sorry|(?:my )?apologies|i apologi[sz]e|unfortunately)"
    rf"\b.{{0,20}}?\b{_UNABLE}.{{0,20}}?\b{_DO}"
    rf"|{_UNABLE}.{{0,12}}?\b{_DO}\w*.{{0,40}}?\b(?:content|requests?|examples?|texts?|sentences?"
    rf"|prompts?|that kind|such|with (?:that|this))\b"
    r"|es tut mir leid,? (?:aber )?(?:ich kann|das kann ich).{0,60}?(?:erstellen|schreiben"
    r"|generieren|helfen)\b"
    r"|je suis désolée?,? mais je ne peux pas (?:créer|écrire|générer|fournir|vous)"
    r"|lo siento,? pero no puedo (?:crear|escribir|generar|proporcionar|ayudar)"
    r"|(?:抱歉|对不起)[，,]?\s*(?:但)?我(?:无法|不能)(?:提供|生成|创作|帮助|写|完成)",
    re.I,
)


def is_refusal(text: str) -> bool:
    """Whether a text begins as a refusal: "As an AI language model …"."""
    return bool(_REFUSAL.match(text.replace("’", "'")))


# Remarks.

_WRITTEN = r"(?:texts?|sentences?|examples?|utterances?)"
_THIS = r"(?:this|these|the|that)(?: (?:above|following|new|given|generated))?"
_SORTED = r"(?:class|category|label|topic|intent|prompt)"
_REMARK = re.compile(
    # "This text is about weather", "The sentence above belongs to the class music".
    rf"\(?{_THIS} {_WRITTEN}(?: above| below)? (?:is|are|was) "
    rf"(?:about|an? (?:{_SORTED}|example|instruction))\b"
    rf"|\(?{_THIS} (?:{_WRITTEN}|request|query|question|review|headline|message)\b.{{0,80}}?"
    r"\b(?:is|are|was|belongs?|falls?|fits|represents?|can be|could be|would be|should be)\b"
    rf".{{0,60}}?\b(?:class|category|label|{_WRITTEN} of)\b"
    r"|this is (?:an? |another )?(?:\w+ )?(?:example|sample) of (?:an? |the )?"
    rf"(?:{_SORTED}|text|sentence|request|utterance|query)\b"
    # "Note: the text is …", "Explanation: I chose …".
    r"|\(?(?:please )?(?:note|explanation|disclaimer|remark|reasoning|hinweis|anmerkung|remarque"
    rf"|nota)(?: that {_THIS}|\s*[:：]).{{0,80}}?"
    rf"\b(?:{_WRITTEN}|{_SORTED}|instructions?|i(?:'ve| have)|above)\b"
    # A thought: "The user wants one more example".
    rf"|{_WELL}(?:the )?user (?:wants?|is asking|asks?|asked|would like|needs)\b"
    rf"|{_WELL}(?:i|we) (?:need|have|should|must)(?: to)? "
    rf"(?:write|create|generate|come up with|produce|continue)\b.{{0,60}}?\b{_WRITTEN}"
    r"|let me (?:create|generate|come up with|know if you.{0,60}?"
    rf"\b(?:{_WRITTEN}|more|changes?|adjust\w*|modif\w*))\b"
    r"|i hope (?:this|that|these) helps?\b",
    re.I,
)
_AFTER_SENTENCE = re.compile(r"(?<=[.!?。\"'”)])\s+|\s(?=\(note\b)", re.I)


def remark_start(text: str) -> int | None:
    """Returns where a remark about a text, or a thought, begins; None if there is none.

    Args:
        text: The text; 0 is returned if it is nothing but a remark.
    """
    plain = text.replace("’", "'")
    if _REMARK.match(plain):
        return 0
    gaps = _AFTER_SENTENCE.finditer(plain)
    return next((gap.start() for gap in gaps if _REMARK.match(plain, gap.end())), None)
