"""A tiny student's view of a pool, against one text at a time."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import entropy
from skactiveml.pool import average_kl_divergence
from tests.helpers.classification import NAMES, TASK, WORDS, make_text
from tests.helpers.ner import TYPES
from tests.helpers.tiny_student import tiny_encoder, tiny_network, tiny_tokenizer

from tutelage.errors import ConfigError, StudentError
from tutelage.selectors.diversity import Badge
from tutelage.selectors.measures import KINDS, uncertainty_of
from tutelage.selectors.protocol import PoolView
from tutelage.selectors.row_selection import EveryRow
from tutelage.student.changed_copies import changed_copies
from tutelage.student.checkpoint import new_tagger
from tutelage.student.losses.protocol import UnitLoss
from tutelage.student.module import StudentModule
from tutelage.student.pool_view import PredictionCache, StudentPoolView
from tutelage.student.schedule import RateSchedule
from tutelage.tasks.ner import NerTask
from tutelage.tasks.spans import first_pieces, read_spans

TEXTS = [make_text(name, n) + " amber" * (n % 5) for n in range(9) for name in NAMES]
SENTENCES = [" ".join(WORDS[n : n + 1 + n % 6]) for n in range(15)]
TAGS = NerTask(TYPES)
LENGTH = 24


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("encoder"))


def student(network: Any, task: Any) -> StudentModule:
    rates = {"learning_rate": 1e-3, "head_learning_rate": 1e-1, "weight_decay": 0.0}
    return StudentModule(
        network, task, UnitLoss(), RateSchedule(), EveryRow(), batch_size=4, **rates
    )


@pytest.fixture(params=["mean", "first"])
def classifier(encoder: Path, request: pytest.FixtureRequest) -> StudentModule:
    return student(sharpened(tiny_network(encoder, request.param)), TASK)


@pytest.fixture
def tagger(encoder: Path) -> StudentModule:
    torch.manual_seed(1)
    return student(sharpened(new_tagger(str(encoder), TAGS.outputs)), TAGS)


def sharpened(network: Any) -> Any:
    """With larger weights: under freshly initialised ones, all texts look the same."""
    with torch.no_grad():
        network.classifier.weight.mul_(30)
        for name, value in network.base_model.named_parameters():
            if value.dim() == 2 and "embeddings" not in name:
                value.mul_(12)
    return network


def sight(module: StudentModule, texts: list[str], **options: Any) -> StudentPoolView:
    return StudentPoolView(
        module, tiny_tokenizer(), texts, **{"max_length": LENGTH, "seed": 4, **options}
    )


def alone(
    module: StudentModule, text: Any, by_word: bool = False
) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
    """Probabilities and mean hidden state of one text, and the first token of each word."""
    batch = tiny_tokenizer()(
        [text], truncation=True, max_length=LENGTH, is_split_into_words=by_word, return_tensors="pt"
    )
    module.eval()
    with torch.no_grad():
        logits = module(
            {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
        )
        hidden = module.network.base_model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
        ).last_hidden_state
    indices = first_pieces(batch.word_ids(0), len(text)) if by_word else ()
    return (
        logits.softmax(-1)[0].numpy(),
        hidden[0].mean(0).numpy(),
        tuple(index for index in indices if index >= 0),
    )


def test_each_text_is_seen_as_it_is_alone_in_the_pool_s_order(classifier: StudentModule) -> None:
    view: PoolView = sight(classifier, TEXTS, batch_size=4, chunk=7)
    for index, text in enumerate(TEXTS):
        probabilities, embedding, _ = alone(classifier, text)
        np.testing.assert_allclose(view.probabilities()[index], probabilities, atol=1e-5)
        np.testing.assert_allclose(view.embeddings()[index], embedding, atol=1e-5)
        for kind in KINDS:
            assert view.uncertainty(kind)[index] == pytest.approx(
                float(uncertainty_of(probabilities, kind)), abs=1e-5
            )
    assert view.texts is TEXTS
    assert {
        view.probabilities().dtype,
        view.embeddings().dtype,
        view.uncertainty("margin").dtype,
    } == {np.dtype(np.float32)}
    assert view.probabilities().std(axis=0).max() > 0.01, "the student tells the texts apart"


def test_words_are_seen_by_the_least_certain_of_them(tagger: StudentModule) -> None:
    long = " ".join(WORDS * 3)
    texts = [*SENTENCES, long]
    view = sight(tagger, texts, batch_size=4, chunk=6)
    for index, text in enumerate(texts):
        rows, embedding, read = alone(tagger, text.split(" "), by_word=True)
        words = rows[list(read)]
        assert text == long or len(words) == len(text.split(" "))
        np.testing.assert_allclose(
            view.probabilities()[index], words[words.max(axis=1).argmin()], atol=1e-5
        )
        np.testing.assert_allclose(view.embeddings()[index], embedding, atol=1e-5)
        for kind in KINDS:
            assert view.uncertainty(kind)[index] == pytest.approx(
                float(uncertainty_of(words, kind).mean()), abs=1e-5
            )


def test_the_places_that_the_student_proposes_are_those_of_its_words_in_order(
    tagger: StudentModule,
) -> None:
    long = " ".join(WORDS * 3)
    texts = [*SENTENCES, long]
    found = sight(tagger, texts, batch_size=4, chunk=6).proposed()
    for text, proposed in zip(texts, found, strict=True):
        rows, _, read = alone(tagger, text.split(" "), by_word=True)
        assert proposed == TAGS.proposed([rows[token] if token >= 0 else None for token in read])
    assert any(found)


def test_a_text_without_words_has_no_numbers_and_is_chosen_last(tagger: StudentModule) -> None:
    view = sight(tagger, ["", *SENTENCES[:4]])
    assert np.isnan(view.probabilities()).any(axis=1).tolist() == [True, False, False, False, False]
    assert (
        np.isnan(view.uncertainty("entropy")).tolist()
        == np.isnan(view.disagreement(2)).tolist()
        == [True, False, False, False, False]
    )
    assert Badge().query(view, 5, np.random.default_rng(0)).indices[-1] == 0


def test_one_pass_gives_everything_and_the_bar_moves(classifier: StudentModule) -> None:
    told: list[tuple[str, int, int]] = []
    forwards: list[int] = []
    handle = classifier.network.base_model.register_forward_hook(lambda *_: forwards.append(1))
    known = [make_text(name, 500) for name in NAMES]
    view = sight(
        classifier,
        TEXTS,
        labelled=known,
        batch_size=5,
        chunk=10,
        on_chunk=lambda *news: told.append(news),
    )
    assert not forwards, "nothing is computed before it is asked for"
    for _ in range(2):
        view.embeddings(), view.probabilities(), [view.uncertainty(kind) for kind in KINDS]
    assert told == [("pool", 10, 27), ("pool", 20, 27), ("pool", 27, 27)]
    assert len(forwards) == 6
    for _ in range(2):
        assert view.labelled_embeddings().shape == (3, 16)
    assert told[3:] == [("labelled", 3, 3)]
    for _ in range(2):
        view.disagreement(3)
    assert told[4:] == [("dropout", 10, 27), ("dropout", 20, 27), ("dropout", 27, 27)]
    assert len(forwards) == 6 + 1 + 3 * 6
    handle.remove()


def test_sights_of_one_student_make_one_pass_over_a_text(classifier: StudentModule) -> None:
    passed: list[int] = []
    handle = classifier.network.base_model.register_forward_hook(
        lambda _module, _inputs, output: passed.append(len(output[0]))
    )
    seen = PredictionCache()
    first = sight(classifier, TEXTS[:9], seen=seen)
    first.probabilities()
    mixed = [TEXTS[12], TEXTS[4], TEXTS[12], TEXTS[0], TEXTS[10]]
    second = sight(classifier, mixed, labelled=[TEXTS[10], TEXTS[8]], seen=seen)
    found = [
        second.probabilities(),
        second.embeddings(),
        *(second.uncertainty(kind) for kind in KINDS),
        second.labelled_embeddings(),
    ]
    assert passed == [9, 2], "the two new texts alone, each once"
    assert sight(classifier, [], seen=seen).embeddings().shape == (0, 16)
    alone = sight(classifier, mixed, labelled=[TEXTS[10], TEXTS[8]])
    wanted = [
        alone.probabilities(),
        alone.embeddings(),
        *(alone.uncertainty(kind) for kind in KINDS),
        alone.labelled_embeddings(),
    ]
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
        assert one.dtype == np.float32
    seen.forget()
    passed.clear()
    sight(classifier, TEXTS[:3], seen=seen).embeddings()
    assert passed == [3], "what was seen before is forgotten"
    handle.remove()


def test_a_pass_that_was_stopped_is_made_again(classifier: StudentModule) -> None:
    seen = PredictionCache()

    def stop(*news: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sight(classifier, TEXTS, seen=seen, on_chunk=stop).embeddings()
    np.testing.assert_array_equal(
        sight(classifier, TEXTS, seen=seen).embeddings(), sight(classifier, TEXTS).embeddings()
    )


def test_training_is_left_as_it_was(classifier: StudentModule) -> None:
    classifier.train()
    classifier.network.base_model.eval()  # modes may differ
    modes = [one.training for one in classifier.modules()]
    torch.manual_seed(11)
    before = torch.get_rng_state()
    view = sight(classifier, TEXTS, labelled=TEXTS[:2])
    view.embeddings(), view.labelled_embeddings(), view.disagreement(2), view.instability(2, 0.1)
    assert torch.equal(before, torch.get_rng_state())
    assert [one.training for one in classifier.modules()] == modes
    assert all(value.grad is None for value in classifier.parameters())
    assert not classifier.network.base_model._forward_hooks
    assert torch.is_grad_enabled()


def test_a_failing_pass_leaves_training_as_it_was_too(classifier: StudentModule) -> None:
    classifier.train()

    def stop(*news: Any) -> None:
        raise KeyboardInterrupt

    before = torch.get_rng_state()
    for view_pool in (lambda view: view.embeddings(), lambda view: view.disagreement(2)):
        with pytest.raises(KeyboardInterrupt):
            view_pool(sight(classifier, TEXTS, on_chunk=stop))
    assert all(one.training for one in classifier.modules())
    assert torch.equal(before, torch.get_rng_state())


def test_disagreement_follows_from_the_seed_alone(classifier: StudentModule) -> None:
    first = sight(classifier, TEXTS).disagreement(4)
    torch.manual_seed(99)
    np.testing.assert_array_equal(first, sight(classifier, TEXTS).disagreement(4))
    other = sight(classifier, TEXTS, seed=5).disagreement(4)
    assert not np.array_equal(first, other)
    assert (first >= 0).all()
    assert first.max() > 1e-4
    assert (first <= math.log(len(NAMES))).all()
    assert first.dtype == np.float32


def test_disagreement_is_the_divergence_of_the_passes_as_a_committee(
    classifier: StudentModule,
) -> None:
    members: list[np.ndarray] = []
    handle = classifier.network.register_forward_hook(
        lambda _module, _inputs, output: members.append(
            output.logits.double().softmax(-1).detach().numpy()
        )
    )
    # Texts of equal length, so that batches keep their order.
    texts = [make_text(name, 1000 + n) for n in range(4) for name in NAMES]
    found = sight(classifier, texts, batch_size=len(texts)).disagreement(5)
    handle.remove()
    assert len(members) == 5
    np.testing.assert_allclose(found, average_kl_divergence(np.stack(members)), atol=1e-7)
    assert found.max() > 1e-5


def test_disagreement_is_a_mean_over_the_words(tagger: StudentModule) -> None:
    found = sight(tagger, SENTENCES).disagreement(4)
    assert found.shape == (15,)
    assert (found > 0).all()


def test_instability_is_the_mean_divergence_of_the_copies_one_at_a_time(
    classifier: StudentModule,
) -> None:
    found = sight(classifier, TEXTS, batch_size=4, chunk=7).instability(3, 0.3)
    for index, text in enumerate(TEXTS):
        wanted, _, _ = alone(classifier, text)
        copies = changed_copies(text, 3, 0.3, by_word=False, fixed=(), seed=4)
        values = [entropy(wanted, alone(classifier, copy.text)[0]) for copy in copies]
        assert found[index] == pytest.approx(np.mean(values), abs=1e-5)
    assert found.max() > 1e-3
    assert found.dtype == np.float32
    # It is a text's own, whatever other texts there are.
    again = sight(classifier, TEXTS[::-1], batch_size=5, chunk=100).instability(3, 0.3)
    np.testing.assert_allclose(again[::-1], found, atol=1e-5)
    assert sight(classifier, ["amber"]).instability(2, 0.5) == pytest.approx(0.0, abs=1e-6)


def test_instability_of_words_is_that_of_each_word_in_its_new_place(
    tagger: StudentModule,
) -> None:
    long = " ".join(WORDS * 3)
    texts = [*SENTENCES, long, ""]
    found = sight(tagger, texts, batch_size=4, chunk=6).instability(2, 0.4)
    changes = 0
    for index, text in enumerate(texts[:-1]):
        words = text.split(" ")
        rows, _, read = alone(tagger, words, by_word=True)
        # The long text is cut, so its last words are not seen.
        given = [rows[read[at]] if at < len(read) else None for at in range(len(words))]
        fixed = {word for start, end in TAGS.proposed(given) for word in range(start, end)}
        means = []
        for copy in changed_copies(text, 2, 0.4, by_word=True, fixed=fixed, seed=4):
            changes += copy.text != text
            others, _, kept = alone(tagger, copy.text.split(" "), by_word=True)
            values = [
                entropy(rows[read[word]], others[kept[place]])
                for place, word in enumerate(copy.kept[: len(kept)])
                if word < len(read)
            ]
            means.append(np.mean(values))
        assert found[index] == pytest.approx(np.mean(means), abs=1e-5)
    assert changes > 5
    assert np.isnan(found[-1]), "a text without words has no number"


def test_a_student_without_dropout_is_told_apart(classifier: StudentModule) -> None:
    for one in classifier.modules():
        if isinstance(one, torch.nn.Dropout):
            one.p = 0.0
    with pytest.raises(ConfigError, match="no dropout"):
        sight(classifier, TEXTS).disagreement(3)
    with pytest.raises(ConfigError, match=r"acquire\.passes=1 cannot measure disagreement"):
        sight(classifier, TEXTS).disagreement(1)


@pytest.mark.parametrize("kind", ["text", "word"])
def test_an_empty_pool_has_arrays_of_the_right_width(
    classifier: StudentModule, tagger: StudentModule, kind: str
) -> None:
    module = classifier if kind == "text" else tagger
    view = sight(module, [])
    assert view.probabilities().shape == (0, len(module.task.outputs))
    assert view.embeddings().shape == view.labelled_embeddings().shape == (0, 16)
    assert view.uncertainty("entropy").shape == view.disagreement(2).shape == (0,)
    assert view.instability(2, 0.1).shape == (0,)


def test_wrong_settings_and_encoders_are_refused(classifier: StudentModule) -> None:
    with pytest.raises(ConfigError, match="chunk=0"):
        sight(classifier, TEXTS, chunk=0)
    wrong: Any = "entropie"
    with pytest.raises(ConfigError, match="Did you mean 'entropy'"):
        sight(classifier, TEXTS).uncertainty(wrong)

    # An encoder the student never calls returns no hidden states.
    classifier.forward = (  # type: ignore[method-assign]
        lambda batch: torch.zeros(len(batch["input_ids"]), 3)
    )
    with pytest.raises(StudentError, match="no last hidden state"):
        sight(classifier, TEXTS).embeddings()


def test_predictions_are_those_of_one_text_at_a_time(
    classifier: StudentModule, tagger: StudentModule
) -> None:
    for one, text in zip(sight(classifier, TEXTS).predictions(), TEXTS, strict=True):
        shares = alone(classifier, text)[0].reshape(-1)
        assert one is not None
        assert one.target == NAMES[int(shares.argmax())]
        assert one.confidence == pytest.approx(shares.max(), abs=1e-5)
        assert one.shares == pytest.approx(shares.tolist(), abs=1e-5)
    view = sight(tagger, [*SENTENCES, ""])
    *found, blank = view.predictions()
    assert blank is None
    least = view.probabilities()
    for index, (one, text) in enumerate(zip(found, SENTENCES, strict=True)):
        assert one is not None
        _, _, positions = alone(tagger, text.split(" "), by_word=True)
        assert one.confidence <= least[index].max() + 1e-5
        # One share per type, and the last one for none.
        expected = [*(least[index][1 + 2 * n : 3 + 2 * n].sum() for n in range(3)), least[index][0]]
        assert one.shares == pytest.approx(expected, abs=1e-5)
        spans = read_spans(one.target)
        assert all(span.end <= len(positions) for span in spans)
    assert any(read_spans(one.target) for one in found if one)
