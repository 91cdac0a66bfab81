"""From logits to tokens: arg-max, top-k and top-p, soft-max over the vocabulary, penalties, rejection."""

from seatrial.measure.profile.families.base import Family

FAMILY = Family(
    name="sampling",
    about="arg-max, top-k/top-p, random draws, penalties, rejection of drafts",
    patterns=(
        r"arg_?max|ArgMax(V2)?",
        r"top_?[kp](_|V\d|$|[^a-z])|TopK|topp|radix_?(sort|topk)|RadixSort|bitonicSort|sortKeyValue|aten::sort|^Sort",
        r"multinomial|exponential|gumbel|sampl(e|ing)|penalt|rejection|log_?softmax|LogSoftmax|min_p",
    ),
    examples=(
        "ArgMaxV2",
        "void at::native::sbtopk::gatherTopK<float, unsigned int, 2, false>(...)",
        "TopKV3",
        "aten::argmax",
        "_C::greedy_argmax",
        "rejection_greedy_sample_kernel",
        "aten::topk",
        "void vllm::apply_repetition_penalties_kernel<float>(float*, bool const*)",
    ),
)
