"""Speculative decoding: MTP, EAGLE, draft models."""

from __future__ import annotations

from seatrial.triage.signature import Signature
from seatrial.triage.signatures._make import EXACT, LITERAL, SHAPE, root

S = "mtp-speculative"
OFF = "Serve without --speculative-config to confirm; then compare num_speculative_tokens, the draft layers in the checkpoint and the plugin's list of methods."
SIGNATURES: tuple[Signature, ...] = (
    root("spec.config", S, r"[Uu]nsupported speculative|num_speculative_tokens.{0,100}(?:divisible|must|should|provided|exceed|not support|larger|greater|cannot|only)|must be divisible by n_predict|Target and draft model should have the same vocabulary|[Ss]peculative (?:decoding|config\w{0,8}|method|model).{0,100}(?:not (?:yet )?support|unsupported|only|must|require|cannot|fail|invalid)|"
         r"(?:MTP|mtp|[Ee]agle3?|EAGLE3?|Medusa|medusa|draft model|[Dd]rafter|ngram|suffix decoding|DFlash|dflash)\b.{0,100}(?:not (?:yet )?support|unsupported|only support|must be|require|not implemented|cannot|mismatch|not found|fail)|draft_tensor_parallel_size|num_nextn_predict_layers|spec(?:ulative)?_decode.{0,60}(?:not support|fail)|limit of 16.{0,60}|num_spec_tokens", LITERAL,
         "The draft model, its number of tokens, or the method does not fit the target model or platform.", OFF, rung="support", sources=("V31", "V32", "V33", "A74"), raised=r"\w{1,80}|",
         unless=r"graph mode|has no attribute|KeyError|No module|^\s{0,8}(?:export|vllm|python)|INFO|--speculative|non-default|out of memory|accuracy|acceptance|inspected|architectures",
         matches=("ValueError: num_speculative_tokens:3 must be divisible by n_predict=2", "NotImplementedError: Unsupported speculative method: 'foo'")),
    root("spec.attribute", S, r"'\w{0,60}(?:Proposer|Drafter|MTP\w{0,20}|Eagle\w{0,20}|Draft\w{0,20}|Speculat\w{0,20}|RejectionSampler)' object has no attribute|spec_decode_metadata|draft_token_ids|rejection_sampl\w{0,10}|num_draft_tokens|spec_token_ids|bonus_token", LITERAL,
         "The draft path's objects do not fit together.", OFF, raised=r"\w{1,20}Error",
         unless=r"must be (?:a|an|in|>=)\b|must be >|unexpected keyword|cannot import", matches=("AttributeError: 'MtpProposer' object has no attribute 'model'",)),
    root("spec.place", S, r"Error", SHAPE, "The failure was raised in the speculative decoding code.", OFF,
         innermost=r"spec_decode|mtp_proposer|eagle_proposer|eagle\.py|_mtp\.py|mtp\.py|/mtp|proposer|rejection_sampler|:propose|speculative|:_propose|draft", unless=r"out of memory|unexpected keyword|required positional|No module|cannot import|\.weight|module '",
         matches=('  File "/w/vllm_ascend/spec_decode/mtp_proposer.py", line 1, in _propose\n    x\n' "IndexError: index 5 is out of bounds",)),
    root("spec.on-path", S, r"Error", SHAPE, "The failure was raised below the speculative decoding code.", OFF, frames=r"spec_decode/|mtp_proposer|eagle_proposer|_mtp\.py|:propose", raised=r"RuntimeError|AssertionError|ValueError|IndexError|TypeError|KeyError|AttributeError",
         unless=r"out of memory|unexpected keyword|required positional|No module|cannot import|\.weight|module '|aclnn|quant",
         matches=('  File "/w/vllm_ascend/spec_decode/mtp_proposer.py", line 1, in _propose\n    x\n  File "/w/vllm/foo.py", line 1, in bar\n    x\n' "IndexError: index 5 is out of bounds",)),
    root("spec.draft-config", S, r"Config' object has no attribute '\w{0,20}draft\w{0,20}'|Config' object has no attribute", EXACT, "The draft model is built from a config that lacks its fields: the target's config, or a draft of another method.", "Give the draft checkpoint's own folder in --speculative-config; compare its config.json with what the method reads.",
         raised=r"AttributeError", frames=r"spec_decode/|_proposer\.py|/speculator", anchor="-",
         matches=('  File "/w/vllm_ascend/spec_decode/eagle_proposer.py", line 1, in load_model\n    x\n  File "/x/vllm/model_executor/models/llama_eagle3.py", line 1, in __init__\n    x\n' "AttributeError: 'Qwen3MoeConfig' object has no attribute 'draft_vocab_size'",)),
    root("spec.is-on", S, r"Error", SHAPE, "A step of the engine failed with speculative decoding on, in code that no rule knows: drafts change the number of tokens and blocks that a step handles.", OFF,
         raised=r"IndexError|AssertionError|RuntimeError|KeyError|TypeError|ValueError|AttributeError", frames=r":(?:execute_model|worker_busy_loop|run_busy_loop|_dummy_run|sample_tokens|schedule|step|_model_forward|capture_model)(?:\n|$)",
         context=r"speculative[-_]config['\"]?[ :=]{1,3}(?!None|\s)|num_speculative_tokens|--speculative-|speculative_algorithm='", yields="peer",
         unless=r"out of memory|unexpected keyword|required positional|No module|cannot import|HCCL|hccl|NCCL|Worker failed|cancelled|timed out", sources=("vllm-ascend#9024", "vllm-ascend#2071"), anchor="-",
         matches=("vllm serve m --speculative-config '{\"method\": \"mtp\"}'\n" '  File "/x/vllm/v1/executor/multiproc_executor.py", line 1, in worker_busy_loop\n    x\n  File "/x/vllm/v1/worker/mamba_utils.py", line 1, in preprocess_mamba\n    a[i]\nIndexError: list index out of range',)),
    root("spec.xllm-mtp", S, r"(?:decode context position|position)/kv_len mismatch|validate.{0,30}input construction|run_spec_verify|mtp_worker_impl|speculative_worker_impl|num_accepted_tokens.{0,60}(?:mismatch|invalid|fail)", EXACT, "The verify step of speculative decoding was built wrongly.", OFF, raised=r"\w{1,80}|",
         unless=r"INFO", matches=("F20260826 15:04:11.801 mtp_worker_impl.cpp:330] Check failed: decode context position/kv_len mismatch",)),
)  # fmt: skip
