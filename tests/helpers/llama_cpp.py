"""A real llama.cpp server with the embedded teacher, which it needs as a GGUF file.

The server is llama.cpp's own, inside the wheel xllamacpp, so nothing has to be compiled.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

_LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
"""Names of the weights of a layer: Hugging Face to GGUF."""


def write_gguf(folder: Path, path: Path) -> Path:
    """Converts the embedded teacher, a Llama with a byte-level BPE, to a GGUF file.

    The weights stay float32, so that the server's log-probabilities can be compared.
    """
    from gguf import GGUFWriter
    from safetensors.numpy import load_file

    config = json.loads((folder / "config.json").read_text())
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    writer = GGUFWriter(path, "llama")
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    _add_tokenizer(writer, json.loads((folder / "tokenizer.json").read_text()), config)
    # The output layer shares the embedding's weights: llama.cpp knows that by its absence.
    for name, weight in load_file(folder / "model.safetensors").items():
        if ".q_proj." in name or ".k_proj." in name:
            weight = _interleaved(weight, heads if ".q_proj." in name else kv_heads)
        writer.add_tensor(_gguf_name(name), weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_tokenizer(writer: Any, tokenizer: dict[str, Any], config: dict[str, Any]) -> None:
    from gguf import TokenType

    words = sorted(tokenizer["model"]["vocab"], key=tokenizer["model"]["vocab"].__getitem__)
    special = {token["content"] for token in tokenizer["added_tokens"] if token["special"]}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(words)
    writer.add_token_types(
        [TokenType.CONTROL if word in special else TokenType.NORMAL for word in words]
    )
    writer.add_token_merges([" ".join(pair) for pair in tokenizer["model"]["merges"]])
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_add_bos_token(False)


def _gguf_name(name: str) -> str:
    if name == "model.embed_tokens.weight":
        return "token_embd.weight"
    if name == "model.norm.weight":
        return "output_norm.weight"
    _, _, layer, rest = name.split(".", 3)
    return f"blk.{layer}.{_LAYER[rest.removesuffix('.weight')]}.weight"


def _interleaved(weight: Any, heads: int) -> Any:
    # Hugging Face rotates the two halves of a head against each other, llama.cpp each even row
    # against the odd one after it.
    halves = weight.reshape(heads, 2, weight.shape[0] // heads // 2, weight.shape[1])
    return halves.swapaxes(1, 2).reshape(weight.shape)


@contextlib.contextmanager
def llama_server(model: Path, log: Path, *, context: int = 1024) -> Iterator[str]:
    """Starts a server in a process of its own, and yields its address.

    ``context`` is the longest prompt and completion together of each of its two slots, in tokens.
    """
    command = [sys.executable, str(Path(__file__).resolve()), str(model), str(context)]
    with log.open("wb") as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        )
    assert process.stdout is not None
    try:
        # The process prints its address once the model is loaded, and nothing if that failed.
        address = process.stdout.readline().strip()
        assert address, f"the llama.cpp server did not start: {log.read_text()[-3000:]}"
        assert httpx.get(f"{address}/health", timeout=30).json() == {"status": "ok"}
        yield address
    finally:
        # It would wait for open connections. If this process is killed, the end of the server's
        # standard input ends it.
        process.kill()
        process.communicate()


def _serve(model: str, context: int) -> None:
    import xllamacpp

    settings = xllamacpp.CommonParams()
    settings.model.path = model
    settings.port = 0
    settings.n_parallel = 2
    settings.n_ctx = context * settings.n_parallel
    # Two threads on busy cores wait for each other at every matrix product.
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
    settings.warmup = False
    server = xllamacpp.Server(settings)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]))
