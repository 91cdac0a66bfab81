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
# What a family's processor looks for in the text, by what stands for a medium in its chat template.
VISION = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
SOUND = ("<|audio_bos|>", "<|AUDIO|>", "<|audio_eos|>")
MARKS = {"qwen3_vl": VISION, "qwen2_audio": SOUND}
VOCABULARY = 768
CONTEXT = 4096


def probe(request, progress):
    family, folder, seed = request["family"], request["folder"], int(request.get("seed", 0))
    if family not in FAMILIES:
        raise ValueError(f"unknown family {family!r}; known: {', '.join(FAMILIES)}")
    if os.listdir(folder):
        raise FileExistsError(f"the folder {folder} is not empty")
    progress("training the tokenizer")
    tokenizer = _tokenizer(MARKS.get(family, ()))
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


def _tokenizer(marks):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(SPECIAL) - len(marks),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(TEXT.strip().splitlines(), trainer)
    raw.add_special_tokens([*SPECIAL, *marks])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        eos_token=SPECIAL[2],
        bos_token=SPECIAL[0],
        pad_token=SPECIAL[4],
        additional_special_tokens=[SPECIAL[1], SPECIAL[3], *marks],
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
            tower = any(word in name for word in ("vision", "visual", "audio"))
            if parameter.dim() == 2 and ("proj" in name or "experts" in name) and not tower:
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


def _rename(folder, start, instead):
    """Tensors whose name begins with `start`, and not yet with `instead`, begin with `instead`."""
    from safetensors.torch import load_file, save_file

    file = os.path.join(folder, "model.safetensors")
    longer = instead if instead.startswith(start) else None
    tensors = {}
    for name, tensor in load_file(file).items():
        due = name.startswith(start) and not (longer and name.startswith(longer))
        tensors[instead + name[len(start) :] if due else name] = tensor
    save_file(tensors, file, metadata={"format": "pt"})


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
        from transformers import CLIPImageProcessor, LlavaProcessor

        # transformers 5.19 leaves out the level that published LLaVA checkpoints have and vLLM 0.32 expects.
        _rename(folder, "vision_tower.", "vision_tower.vision_model.")
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


def qwen3_vl(ids, tokenizer):
    """Images and video: a tower of two layers, the first of which also feeds the decoder, before a Qwen3 decoder with
    interleaved three-part rotary positions. 64 by 64 pixels are four tokens."""
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    number = tokenizer.convert_tokens_to_ids
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [6, 5, 5], "mrope_interleaved": True}
    config = Qwen3VLConfig(
        text_config=_text(ids, head_dim=32, rope_parameters=rope),
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "patch_size": 16,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "out_hidden_size": 64,
            "num_position_embeddings": 16,
            "deepstack_visual_indexes": [0],
        },
        image_token_id=number("<|image_pad|>"),
        video_token_id=number("<|video_pad|>"),
        vision_start_token_id=number("<|vision_start|>"),
        vision_end_token_id=number("<|vision_end|>"),
        tie_word_embeddings=False,
    )

    def finish(folder):
        from transformers import Qwen2VLImageProcessor, Qwen3VLProcessor, Qwen3VLVideoProcessor

        template = CHAT_TEMPLATE.replace(
            "<image>",
            "<|vision_start|>{{ '<|video_pad|>' if 'video' in part.type else '<|image_pad|>' }}<|vision_end|>",
        )
        cut = {"patch_size": 16, "temporal_patch_size": 2, "merge_size": 2}
        half = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
        Qwen3VLProcessor(
            image_processor=Qwen2VLImageProcessor(
                size={"shortest_edge": 32 * 32, "longest_edge": 256 * 256}, **cut, **half
            ),
            tokenizer=tokenizer,
            video_processor=Qwen3VLVideoProcessor(
                size={"shortest_edge": 32 * 32, "longest_edge": 16 * 256 * 256}, **cut, **half
            ),
            chat_template=template,
        ).save_pretrained(folder)

    return config, Qwen3VLForConditionalGeneration, finish


def qwen2_audio(ids, tokenizer):
    """Sound: a Whisper-like tower of two layers before a Qwen2 decoder; 30 seconds are 750 tokens."""
    from transformers import Qwen2AudioConfig, Qwen2AudioForConditionalGeneration, Qwen2Config

    config = Qwen2AudioConfig(
        audio_config={
            "d_model": 32,
            "encoder_layers": 2,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 64,
            "num_mel_bins": 80,
            "max_source_positions": 1500,
        },
        text_config=Qwen2Config(**_text(ids, num_attention_heads=2)),
        audio_token_index=tokenizer.convert_tokens_to_ids("<|AUDIO|>"),
    )

    def finish(folder):
        from transformers import Qwen2AudioProcessor, WhisperFeatureExtractor

        # transformers 5.19 has a level here that the published checkpoint has not and vLLM 0.32 does not expect.
        _rename(folder, "language_model.model.model.", "language_model.model.")
        Qwen2AudioProcessor(
            feature_extractor=WhisperFeatureExtractor(feature_size=80),
            tokenizer=tokenizer,
            chat_template=CHAT_TEMPLATE.replace("<image>", "".join(SOUND)),
        ).save_pretrained(folder)

    return config, Qwen2AudioForConditionalGeneration, finish


# Family name (the model_type) to what makes it: configuration, model class, and what is left to do in the folder.
FAMILIES = {
    "qwen3": qwen3,
    "qwen3_moe": qwen3_moe,
    "qwen3_next": qwen3_next,
    "deepseek_v3": deepseek_v3,
    "llava": llava,
    "qwen3_vl": qwen3_vl,
    "qwen2_audio": qwen2_audio,
}
