"""More families for `accuracy_tiny`: those whose engine names its modules otherwise than the reference does.

Each is `family(ids, tokenizer)` as in `tiny_checkpoint`. Heads are 32 wide: vLLM 0.32's CPU attention refuses 16.
"""


def _sizes(ids, **more):
    from seatrial_probes.tiny_checkpoint import _text

    return {**_text(ids), "hidden_size": 128, "intermediate_size": 256, **more}


def qwen2(ids, tokenizer):
    """Dense, with biases at queries, keys and values, without q and k norms."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    return Qwen2Config(**_sizes(ids)), Qwen2ForCausalLM, None


def gpt_oss(ids, tokenizer):
    """Attention with sinks and windows (`attn` in the engine), stacked experts with biases behind a `router`."""
    from transformers import GptOssConfig, GptOssForCausalLM

    more = {
        "head_dim": 32,
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "sliding_window": 16,
        "layer_types": ["sliding_attention", "full_attention"],
    }
    return GptOssConfig(**_sizes(ids, **more)), GptOssForCausalLM, None


def phi3(ids, tokenizer):
    """Queries, keys and values in one tensor, gate and up in another; the engine loads both as shards."""
    from transformers import Phi3Config, Phi3ForCausalLM

    return Phi3Config(**_sizes(ids)), Phi3ForCausalLM, None


def gpt_neox(ids, tokenizer):
    """Other names throughout; the fused projection lies head by head and is put in order by the engine's loader."""
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    return GPTNeoXConfig(**_sizes(ids)), GPTNeoXForCausalLM, None


def gpt2(ids, tokenizer):
    """Other names, learned positions, and weights that lie transposed in the file."""
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes = _sizes(ids)
    names = {"n_embd": "hidden_size", "n_layer": "num_hidden_layers", "n_head": "num_attention_heads"}
    more = {ours: sizes[theirs] for ours, theirs in names.items()}
    kept = {k: sizes[k] for k in ("vocab_size", "bos_token_id", "eos_token_id")}
    return GPT2Config(n_positions=sizes["max_position_embeddings"], **kept, **more), GPT2LMHeadModel, None


def mixtral(ids, tokenizer):
    """Experts named w1, w2 and w3 one by one, merged by both sides into stacks of their own."""
    from transformers import MixtralConfig, MixtralForCausalLM

    more = {"num_local_experts": 4, "num_experts_per_tok": 2}
    return MixtralConfig(**_sizes(ids, **more)), MixtralForCausalLM, None


FAMILIES = {f.__name__: f for f in (qwen2, gpt_oss, phi3, gpt_neox, gpt2, mixtral)}
