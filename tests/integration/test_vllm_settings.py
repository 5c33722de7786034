"""Further arguments of vLLM and a LoRA adapter, on the real engine.

Runs after the tests sharing the session's engine, which ends here.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tutelage.errors import TeacherError
from tutelage.teacher.base import GenerateRequest, Sampling, ScoreRequest
from tutelage.teacher.engines.vllm import VllmTeacher

pytestmark = pytest.mark.vllm

PROMPT = "Text: play some jazz\nTopic: music\n\nText: will it rain in Paris tomorrow\nTopic:"
LAYERS = (3, 17)
RANK, ALPHA = 4, 8


def write_adapter(folder: Path, model: str) -> Path:
    """Writes random weights as peft would, for the queries of two layers."""
    import torch
    from safetensors.torch import save_file

    hidden = json.loads((Path(model) / "config.json").read_text())["hidden_size"]
    generator = torch.Generator().manual_seed(1)
    weights = {}
    for layer in LAYERS:
        name = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        down, up = (RANK, hidden), (hidden, RANK)
        weights[f"{name}.lora_A.weight"] = torch.randn(down, generator=generator) / 2
        weights[f"{name}.lora_B.weight"] = torch.randn(up, generator=generator) / 2
    folder.mkdir()
    save_file(weights, folder / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "target_modules": ["q_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    return folder


def merged_logprobs(model: str, adapter: Path, choices: tuple[int, ...]) -> list[float]:
    """What transformers computes with the adapter added to the weights."""
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    network = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    weights = load_file(adapter / "adapter_model.safetensors")
    ids = AutoTokenizer.from_pretrained(model)(PROMPT, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        for layer in LAYERS:
            name = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
            down, up = weights[f"{name}.lora_A.weight"], weights[f"{name}.lora_B.weight"]
            network.model.layers[layer].self_attn.q_proj.weight += ALPHA / RANK * (up @ down)
        last = network(ids).logits[0, -1].log_softmax(-1)
    return [float(last[choice]) for choice in choices]


def test_every_request_uses_the_adapter(engine, embedded_teacher, tmp_path):
    choices = tuple(ids[0] for ids in engine.tokenize([" music", " weather", " food"]))
    batch = [
        ScoreRequest("s", PROMPT, choices),
        GenerateRequest("g", PROMPT, Sampling(temperature=0.0, max_tokens=8)),
    ]
    bare = engine.ask(batch)
    engine.hand_over()
    adapter = write_adapter(tmp_path / "adapter", embedded_teacher)
    teacher = VllmTeacher(
        embedded_teacher,
        max_model_len=512,
        kv_cache_gb=0.5,
        lora=str(adapter),
        engine={"max_num_seqs": 4},
    )
    try:
        score, text = teacher.ask(batch)
    finally:
        teacher.close()
    assert not score.error + text.error
    expected = merged_logprobs(embedded_teacher, adapter, choices)
    assert score.logprobs == pytest.approx(expected, abs=1e-3)
    assert score.logprobs != pytest.approx(bare[0].logprobs, abs=0.1)
    assert text.text != bare[1].text


def test_a_value_that_vllm_refuses_is_a_failed_start(engine, embedded_teacher):
    engine.hand_over()
    teacher = VllmTeacher(embedded_teacher, max_model_len=512, engine={"max_num_seqs": "many"})
    with pytest.raises(TeacherError, match=r"teacher\.engine"):
        teacher.ask([ScoreRequest("s", PROMPT, (1, 2))])
