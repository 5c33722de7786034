"""EvoKD's settings, as conf/method/evokd.yaml gives them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tutelage.errors import ConfigError
from tutelage.methods.base import follows_mistakes
from tutelage.methods.generation.settings import WritingSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class EvoKDSettings(WritingSettings):
    """EvoKD's switches; each ablation changes exactly one (conf/ablation).

    Raises:
        ConfigError: ``n_first`` is negative, ``names_a_text`` is below 1, or a round would ask for
            no texts.
    """

    name: str
    """Names the method in results and run folders."""
    rounds: int
    """Maximum number of rounds; a token budget or a plateau may end growth sooner."""
    n_hard: int
    """Hard texts requested per round: near the student's mistakes."""
    n_easy: int
    """Easy texts requested per round: near what the student gets right."""
    n_wrong: int
    """Mistakes that the analysis shows."""
    n_correct: int
    """Correct predictions that the analysis shows; with 0 they are no demonstrations either."""
    n_init: int
    """Texts written from the shots before the first round (+Init); 0 for none."""
    init: Literal["paraphrase", "llm_da"] | None
    """How +Init writes them: "paraphrase" (AugGPT-style), or for NER "llm_da" (rewritings and other
    names that keep every entity). null: llm_da for NER, else paraphrase."""
    n_first: int
    """Texts written before there is a student, shared evenly by the classes (method=zerogen)."""
    demonstrations: int
    """Texts of the class shown before a new one. The first is a gold shot, further ones are
    mistakes or correct predictions. With a small teacher 1: it imitates its own texts
    (docs/results/feedback.md). A chat is shown in turn what the prompts of the round have shown
    least, real pool texts included."""
    analysis: bool
    """Ask the teacher for an analysis of the mistakes and put it into the hard prompts."""
    explanations: bool
    """ELAD (arXiv 2402.13098): instead of an analysis of them all, the teacher explains and
    corrects each of the ``n_wrong`` mistakes, in one reply; the hard prompts of a class show the
    explanations of the mistakes that it takes part in. With ``analysis=false`` there are none."""
    feedback: Literal["none", "generated", "pool", "dev", "mixed"]
    """The texts whose mistakes a round follows. "generated": the texts of the round before.
    "pool": real texts of the unlabelled pool, which ``acquire`` chooses and the teacher labels in
    the same round; they are trained on too. "mixed": both. "dev": the dev set, whose
    labels then count as used (S3, arXiv 2310.13671). "none": static generation, with even quotas
    and demonstrations from the shots alone."""
    pool_size: int | None
    """Texts of the unlabelled pool to choose from with ``feedback`` "pool" or "mixed", drawn by the
    run's seed; null for all. Unless ``acquire`` is random, the student reads all of them in each
    round."""
    n_pool: int
    """Pool texts labelled per round, with ``feedback`` "pool" or "mixed"."""
    split: Literal["fixed", "bandit"]
    """How a budget is shared between labelling and writing, with ``feedback`` "pool" or "mixed".
    "fixed": each round labels ``n_pool`` texts and writes ``n_hard`` and ``n_easy``. "bandit": each
    round does one of the two, whichever has found more mistakes that the teacher vouches for per
    1,000 billed tokens (UCB1, Auer et al. 2002); give ``budget.tokens`` and more ``rounds``."""
    seeds: Literal["demonstrations", "loss", "naive", "random", "diverse", "similar", "tree"]
    """What texts are written from. "demonstrations": mistakes or correct predictions, and shots.
    "loss": hard texts are rewritings of the class's rows with the highest student loss, without an
    analysis (closed-loop generation, arXiv 2512.00884). Rows whose label the teacher doubts
    (``mistake_margin``) are no seeds. The others are policies of LLM data creators (arXiv
    2310.20111) that choose what hard and easy prompts show, whatever the student predicts.
    "naive": gold shots alone. "random", "diverse", "similar": accepted texts of the class, any, or
    those least or most similar to the others. "tree": each accepted text once, the oldest first.
    With ``demonstrations`` 1 it is shown instead of a gold shot, else beside one."""
    content: Literal["free", "pool"]
    """Where the content of a new text comes from: "free", or "pool", a random text of the
    unlabelled pool that the teacher rewrites into the class (after SynthesizRR, arXiv 2405.10040);
    for chats only."""
    pairs: bool
    """Write the hard texts of a class towards the classes it is confused with, by number of
    mistakes ("clearly A, easily taken for B"; after Curate-Train-Refine, arXiv 2601.16530).
    Otherwise towards a mistake drawn at random."""
    separated: bool
    """Label each text by a query of its own, instead of by the class it was written for."""
    n_confident: int
    """PGKD: most confident mistakes (hard negatives) shown beside the ``n_wrong`` others."""
    class_report: bool
    """PGKD: show precision, recall, F1 and number of texts per class in the analysis, and in every
    prompt that writes, with all classes and the outcomes of the analysis."""
    scores_from: Literal["fresh", "dev"]
    """Source of the F1 per class that shares out a round: the newest rows, or dev, whose labels
    then
    count as used."""
    mistake_margin: float
    """A mistake counts where the teacher's probability of its own label exceeds that of the
    student's label by this much, in [0, 1]; 0 counts every mistake."""
    focus: float
    """Share of a round that goes to classes by weakness instead of evenly, in [0, 1]. The weakness
    of a class is 1 - F1; for hard texts towards mistakes on the pool it is the number of them."""
    styles: dict[str, list[str]] | None
    """Grid of attributes, such as {tone: [polite, ""], length: [short, long]}; each text draws one
    cell. null for none."""
    near_duplicate: float
    """Similarity from which a text is a duplicate of another, in [0, 1]."""
    near_own: float
    """The same within the run's own texts, for +Init by llm_da, whose texts resemble their
    source."""
    invented_names: float
    """NER: share of texts written around a name that the teacher invents; the others use names of
    the shots and of earlier rounds."""
    names_a_text: int
    """NER: maximum number of names that a text is written around, drawn uniformly from 1."""
    analysis_tokens: int | None
    """Longest analysis, in tokens of the teacher. null: 160 for an answer in a chat, 48 for a text
    to continue, 64 per mistake for explanations."""

    def __post_init__(self) -> None:
        """Checks what would show late."""
        WritingSettings.__post_init__(self)
        if self.n_first < 0:
            raise ConfigError(f"method.n_first={self.n_first} must be 0 or more.")
        if self.n_confident < 0:
            raise ConfigError(f"method.n_confident={self.n_confident} must be 0 or more.")
        if self.names_a_text < 1:
            raise ConfigError(f"method.names_a_text={self.names_a_text} must be 1 or more.")
        if self.n_hard + self.n_easy <= 0 and self.rounds > 0 and not self.labels_pool:
            raise ConfigError(
                "method.n_hard and method.n_easy are both 0, so a round would ask for nothing. Set "
                "one of them, or method=shots."
            )
        if self.labels_pool and not self.separated:
            raise ConfigError(
                f"method.feedback={self.feedback} labels pool texts, and method.separated=false "
                "asks for no label. Give method.separated=true, or method.feedback=generated with "
                "acquire=none."
            )
        if self.split == "bandit" and not self.labels_pool:
            raise ConfigError(
                "method.split=bandit chooses between labelling pool texts and writing, and "
                f"method.feedback={self.feedback} labels none. Give method.split=fixed, or "
                "method.feedback=pool with acquire=random."
            )
        if self.split == "bandit" and self.n_hard + self.n_easy <= 0:
            raise ConfigError(
                "method.split=bandit chooses between labelling pool texts and writing, and "
                "n_hard=0 and n_easy=0 write none. Give method.split=fixed, or method.n_hard=1 or "
                "more."
            )
        for name, value, wanted in (
            ("seeds", "loss", "demonstrations"),
            ("pairs", "true", "false"),
            ("explanations", "true", "false"),
        ):
            if str(getattr(self, name)).lower() == value and not self.follows_mistakes:
                raise ConfigError(
                    f"method.{name}={value} follows the student, and "
                    f"method.feedback=none does not. Give method.feedback=generated or "
                    f"method.{name}={wanted}."
                )
        if self.explanations and self.n_wrong < 1:
            raise ConfigError(
                f"method.explanations=true explains mistakes, and method.n_wrong={self.n_wrong} "
                "shows none. Give method.n_wrong=1 or more, or method.explanations=false."
            )
        analysed = self.analysis and not self.explanations and self.seeds != "loss"
        if self.n_confident and not (analysed or self.class_report):
            raise ConfigError(
                f"method.n_confident={self.n_confident} shows the surest mistakes in an analysis "
                "of all mistakes or in a report, and this run has neither. Give "
                "method.n_confident=0 or method.class_report=true."
            )
        if self.pairs and self.seeds == "loss":
            raise ConfigError(
                "method.seeds=loss rewrites texts, and method.pairs=true asks for texts between "
                "two classes. Give method.pairs=false or method.seeds=demonstrations."
            )

        if self.shows_seeds and self.demonstrations < 1:
            raise ConfigError(
                f"method.seeds={self.seeds} chooses demonstrations, and "
                f"method.demonstrations={self.demonstrations} shows none. Give "
                "method.demonstrations=1 or more, or method.seeds=demonstrations."
            )

    @property
    def shows_seeds(self) -> bool:
        """True if a policy chooses the demonstrations, whatever the student predicts."""
        return self.seeds not in ("demonstrations", "loss")

    @property
    def rewrites_rows(self) -> bool:
        """True if rounds rewrite rows of a high student loss."""
        return self.seeds == "loss"

    @property
    def follows_mistakes(self) -> bool:
        """True unless this is static generation."""
        return follows_mistakes(self.feedback)

    @property
    def labels_pool(self) -> bool:
        """True if rounds label texts of the unlabelled pool."""
        return self.feedback in ("pool", "mixed")


def _follows_own_texts(settings: EvoKDSettings) -> None:
    """Refuses other sources of mistakes than the method's own texts and dev."""
    if settings.feedback not in ("generated", "dev"):
        raise ConfigError(
            f"method.feedback={settings.feedback} is none of method={settings.name}, which follows "
            "the mistakes on texts that it wrote, or those on dev. Give method.feedback=generated "
            "or method.feedback=dev."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReverseGenSettings(EvoKDSettings):
    """EvoKD's settings, and the arms of the bandit.

    Each round asks for ``n_hard`` + ``n_easy`` texts, which the bandit shares out; ``focus`` does
    not count.

    Raises:
        ConfigError: As for :class:`EvoKDSettings`, a number is outside its range, or nothing would
            vouch for a label.
    """

    variants: list[Literal["easy", "hard", "paraphrase"]]
    """Prompts of the bandit's arms, each with every class and every cell of ``styles``: another
    text of the class, a text near the mistakes on it, or a rewriting of its rows with the highest
    student loss."""
    texts_per_arm: int
    """Texts of one draw of the bandit; it draws arms until a round is full."""
    keep_right: float
    """Share of the accepted texts the student gets right that are kept beside its failures, in
    [0, 1]."""

    def __post_init__(self) -> None:
        """Checks what would show late."""
        _follows_own_texts(self)
        EvoKDSettings.__post_init__(self)
        if not self.variants or len(set(self.variants)) != len(self.variants):
            raise ConfigError(
                f"method.variants={self.variants} must name at least one prompt, and none twice."
            )
        if self.texts_per_arm < 1:
            raise ConfigError(f"method.texts_per_arm={self.texts_per_arm} must be 1 or more.")
        if not 0.0 <= self.keep_right <= 1.0:
            raise ConfigError(f"method.keep_right={self.keep_right} must be in [0, 1].")
        if not self.separated:
            raise ConfigError(
                f"method={self.name} keeps the failures whose label the teacher vouches for, and "
                "method.separated=false asks for no label. Give method.separated=true."
            )
        if self.seeds == "loss":
            raise ConfigError(
                f"method.seeds=loss makes every hard text a rewriting, and method={self.name} "
                "chooses by method.variants. Give method.variants=[paraphrase] with "
                "method.seeds=demonstrations."
            )

    @property
    def rewrites_rows(self) -> bool:
        """True if an arm rewrites rows of a high student loss."""
        return "paraphrase" in self.variants


@dataclass(frozen=True, slots=True, kw_only=True)
class CurateTrainRefineSettings(EvoKDSettings):
    """EvoKD's settings, and the validation that rounds follow.

    With ``feedback`` "generated" a round follows the mistakes on the held-out texts, with "dev"
    those on dev, and nothing is held out.

    Raises:
        ConfigError: As for :class:`EvoKDSettings`, or a number is outside its range.
    """

    validation_share: float
    """Share of the accepted first texts of each class held out for validation, at least one, in
    (0, 1). They are never trained on."""
    n_pairs: int
    """Confused pairs that hard texts are written for, the most frequent ones; the texts are shared
    out by the number of mistakes. Without a mistake, or with names missed or invented alone, a
    round is shared out as EvoKD's."""
    class_cap: int
    """Most accepted texts of a class that the teacher writes over the run; the classes that have
    them are not asked for any more."""

    def __post_init__(self) -> None:
        """Checks what would show late."""
        _follows_own_texts(self)
        EvoKDSettings.__post_init__(self)
        if not 0.0 < self.validation_share < 1.0:
            raise ConfigError(
                f"method.validation_share={self.validation_share} must be above 0 and below 1; "
                "method.feedback=dev holds nothing out."
            )
        if self.n_pairs < 1 or self.class_cap < 1:
            raise ConfigError(
                f"method.n_pairs={self.n_pairs} and method.class_cap={self.class_cap} must be 1 or "
                "more."
            )
        if self.feedback == "generated" and self.n_first + self.n_init < 1:
            raise ConfigError(
                "method.n_first=0 and method.n_init=0 write no text to hold out for validation. "
                "Give method.n_first=1 or more, or method.feedback=dev."
            )
