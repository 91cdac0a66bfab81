"""Make a tiny, real checkpoint of a family: config, safetensors, trained tokenizer, chat template, generation config.

Request: `{"family": NAME, "folder": PATH, "seed": 0}`; the folder exists and is empty. Answer: `{"family", "folder",
"files": {name: bytes}, "parameters": N, "vocabulary": N, "architectures": [...]}`. The same seed and library versions
give the same bytes. Nothing is fetched. Weights are random with two exceptions, which keep what a server answers
readable: the output rows of special tokens and of tokens that are no printable ASCII are zero, so that greedy decoding
neither ends at once nor answers bytes that do not decode.
More than 150 lines for the sake of the one-file rule of probes: a fifth of it is the text the tokenizer learns from.
"""

import json
import os

# What the byte-pair tokenizer is trained on: long enough for several hundred merges, several scripts.
TEXT = """
A sea trial is the last test of a new ship before it is handed over. The yard brings it out of the harbour, runs the
engines up to full power, turns it hard to port and to starboard, stops it as fast as it will stop, and writes every
figure down. Speed, fuel, noise, vibration, the distance to stop, the circle it turns in: all of it goes into the book,
and the owner signs only when the book is full. Nobody takes the word of the builder for it, and the builder is glad,
because a figure that was measured before witnesses ends every argument. A model that is to be served has the same need.
It has been built somewhere else, on other machines, by people who are not here. It may load and be wrong. It may
answer once and fall silent. It may be fast when it is alone and slow when there are many at the rail. So it is taken
out of the harbour first: its files are read, its parts are counted, its engine is started and asked a question, and
then another one. What is the capital of France? The capital of France is Paris. Say hello. Hello, how are you today?
Count from one to ten: one, two, three, four, five, six, seven, eight, nine, ten. Once upon a time there was a small
boat with a red sail. {"name": "harbour", "depth": 12.5, "open": true, "berths": [1, 2, 3, 4]}
def depth(tide, chart): return chart + tide  # metres
Eine Probefahrt ist die letzte Prüfung eines neuen Schiffes. L'essai en mer est la dernière épreuve d'un navire neuf.
试航是新船交付之前的最后一次检验。每一个数字都要写下来。Ходовые испытания — последняя проверка нового корабля.
海上試運転は新しい船の最後の試験です。
"""
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}"
    "{% if part.type == 'text' %}{{ part.text }}{% else %}<image>{% endif %}{% endfor %}{% endif %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<pad>")
VOCABULARY = 768
CONTEXT = 4096


def probe(request, progress):
    family, folder, seed = request["family"], request["folder"], int(request.get("seed", 0))
    if family not in FAMILIES:
        raise ValueError(f"unknown family {family!r}; known: {', '.join(FAMILIES)}")
    if os.listdir(folder):
        raise FileExistsError(f"the folder {folder} is not empty")
    progress("training the tokenizer")
    tokenizer = _tokenizer()
    tokenizer.save_pretrained(folder)
    progress("importing torch and transformers")
    import torch

    torch.manual_seed(seed)
    ids = {"eos": tokenizer.convert_tokens_to_ids("<|im_end|>"), "bos": tokenizer.convert_tokens_to_ids(SPECIAL[0])}
    ids.update(image=tokenizer.convert_tokens_to_ids("<image>"), pad=tokenizer.convert_tokens_to_ids("<pad>"))
    progress("making the weights")
    config, kind, finish = FAMILIES[family](ids, tokenizer)
    model = kind(config).to(torch.bfloat16)
    _scatter(model, tokenizer)
    model.config.dtype = torch.bfloat16
    model.generation_config = _generation_config(ids)
    progress("writing the checkpoint")
    model.save_pretrained(folder)
    if finish is not None:
        finish(folder)
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as stream:
        architectures = json.load(stream).get("architectures", [])
    return {
        "family": family,
        "folder": folder,
        "files": {name: os.path.getsize(os.path.join(folder, name)) for name in sorted(os.listdir(folder))},
        "parameters": sum(tensor.numel() for tensor in model.state_dict().values()),
        "vocabulary": len(tokenizer),
        "architectures": architectures,
    }


def _tokenizer():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(TEXT.strip().splitlines(), trainer)
    raw.add_special_tokens(list(SPECIAL))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        eos_token=SPECIAL[2],
        bos_token=SPECIAL[0],
        pad_token=SPECIAL[4],
        additional_special_tokens=[SPECIAL[1], SPECIAL[3]],
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _scatter(model, tokenizer):
    """Spread the weights wide enough that the next token depends on the last ones; see the module's text on zeros."""
    import torch

    pieces = [tokenizer.decode([number]) for number in range(len(tokenizer))]
    mute = [
        number
        for number, piece in enumerate(pieces)
        if number in tokenizer.all_special_ids or not (piece.isascii() and piece.isprintable())
    ]
    with torch.no_grad():
        head = model.get_output_embeddings().weight
        head.normal_(0.0, 0.5)
        head[mute] = 0
        head[len(tokenizer) :] = 0
        model.get_input_embeddings().weight.normal_(0.0, 1.0)
        for name, parameter in model.named_parameters():
            if parameter.dim() == 2 and ("proj" in name or "experts" in name) and "vision" not in name:
                parameter.normal_(0.0, 1.5 * parameter.shape[1] ** -0.5)


def _generation_config(ids):
    from transformers import GenerationConfig

    return GenerationConfig(bos_token_id=ids["bos"], eos_token_id=ids["eos"], pad_token_id=ids["pad"])


def _text(ids, **more):
    """What the families have in common: a two-layer decoder of width 64."""
    return {
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": CONTEXT,
        "tie_word_embeddings": False,
        "bos_token_id": ids["bos"],
        "eos_token_id": ids["eos"],
        "pad_token_id": ids["pad"],
        **more,
    }


def qwen3(ids, tokenizer):
    """Dense, grouped-query attention with q and k norms."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    return Qwen3Config(**_text(ids, head_dim=32)), Qwen3ForCausalLM, None


def qwen3_moe(ids, tokenizer):
    """Eight experts, two of them per token."""
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    moe = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 64, "decoder_sparse_step": 1}
    return Qwen3MoeConfig(**_text(ids, head_dim=32, norm_topk_prob=True, **moe)), Qwen3MoeForCausalLM, None


def qwen3_next(ids, tokenizer):
    """Hybrid: one gated-delta-net layer, one full-attention layer, experts. Linear head dimensions of 128: the CPU
    kernel of vLLM 0.32 refuses 32 at the first request."""
    from transformers import Qwen3NextConfig, Qwen3NextForCausalLM

    more = {
        "head_dim": 32,
        "layer_types": ["linear_attention", "full_attention"],
        "linear_key_head_dim": 128,
        "linear_value_head_dim": 128,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 2,
        "linear_conv_kernel_dim": 4,
        "num_experts": 8,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 64,
        "shared_expert_intermediate_size": 64,
        "decoder_sparse_step": 1,
    }
    return Qwen3NextConfig(**_text(ids, **more)), Qwen3NextForCausalLM, None


def deepseek_v3(ids, tokenizer):
    """Multi-head latent attention, one dense layer, one layer of eight routed experts and a shared one.

    The latent sizes are the published ones, 512 + 64: the CPU kernel of vLLM 0.32 refuses 32 + 16 at the first request.
    """
    from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

    more = {
        "num_key_value_heads": 4,
        "q_lora_rank": 32,
        "kv_lora_rank": 512,
        "qk_rope_head_dim": 64,
        "qk_nope_head_dim": 16,
        "v_head_dim": 16,
        "n_routed_experts": 8,
        "n_shared_experts": 1,
        "num_experts_per_tok": 2,
        "n_group": 2,
        "topk_group": 1,
        "moe_intermediate_size": 64,
        "first_k_dense_replace": 1,
        "topk_method": "noaux_tc",
        "scoring_func": "sigmoid",
    }
    return DeepseekV3Config(**{**_text(ids), **more}), DeepseekV3ForCausalLM, None


def llava(ids, tokenizer):
    """A CLIP tower of two layers before a Llama decoder; images of 56 by 56 pixels, 16 patches."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    vision = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=56,
        patch_size=14,
        projection_dim=32,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=LlamaConfig(**_text(ids, head_dim=32)),
        image_token_index=ids["image"],
        image_seq_length=16,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        tie_word_embeddings=False,
    )

    def finish(folder):
        from safetensors.torch import load_file, save_file
        from transformers import CLIPImageProcessor, LlavaProcessor

        # transformers 5.19 leaves out the level that published LLaVA checkpoints have and vLLM 0.32 expects.
        file = os.path.join(folder, "model.safetensors")
        tensors = {}
        for name, tensor in load_file(file).items():
            if "vision_tower." in name and "vision_tower.vision_model." not in name:
                tensors[name.replace("vision_tower.", "vision_tower.vision_model.")] = tensor
            else:
                tensors[name] = tensor
        save_file(tensors, file, metadata={"format": "pt"})
        side = {"height": 56, "width": 56}
        LlavaProcessor(
            image_processor=CLIPImageProcessor(size={"shortest_edge": 56}, crop_size=side),
            tokenizer=tokenizer,
            patch_size=14,
            vision_feature_select_strategy="default",
            chat_template=CHAT_TEMPLATE,
            num_additional_image_tokens=1,
        ).save_pretrained(folder)

    return config, LlavaForConditionalGeneration, finish


# Family name (the model_type) to what makes it: configuration, model class, and what is left to do in the folder.
FAMILIES = {
    "qwen3": qwen3,
    "qwen3_moe": qwen3_moe,
    "qwen3_next": qwen3_next,
    "deepseek_v3": deepseek_v3,
    "llava": llava,
}
