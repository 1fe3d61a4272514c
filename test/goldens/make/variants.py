"""Makes the variant goldens beside the nine: tiny random checkpoints and what the reference implementation computes of
them. Run as `python variants.py FOLDER [NAME…]` with transformers 5.24.0 and torch 2.15.0; FOLDER is test/goldens.

Never fed with anything that this project computed."""

import json
import sys
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file

BASE = dict(
    vocab_size=101,
    hidden_size=48,
    intermediate_size=56,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=256,
    bos_token_id=1,
    eos_token_id=0,
    pad_token_id=0,
    tie_word_embeddings=False,
)
SPARSE = dict(BASE, hidden_size=32, num_hidden_layers=2)
YARN = dict(rope_type="yarn", rope_theta=10000.0, factor=4.0, original_max_position_embeddings=32)
LENGTHS = (1, 7, 33, 70)

# Variants: architecture, configuration, lengths of the prompts, keys of the older form of the configuration.
VARIANTS = {
    # One window in every layer, one KV head.
    "mistral": ("MistralForCausalLM", dict(BASE, sliding_window=12, num_key_value_heads=1, head_dim=16), LENGTHS),
    # Biases on q, k and v, tied, windows from layer 1 on.
    "qwen2-dense": (
        "Qwen2ForCausalLM",
        dict(BASE, tie_word_embeddings=True, use_sliding_window=True, sliding_window=9, max_window_layers=1),
        LENGTHS,
    ),
    # Windows and two rotations by the type of the layer, linear scaling, (1 + w) norms, tied.
    "gemma3": (
        "Gemma3ForCausalLM",
        dict(
            BASE,
            tie_word_embeddings=True,
            head_dim=16,
            query_pre_attn_scalar=20,
            sliding_window=10,
            layer_types=["sliding_attention", "full_attention", "sliding_attention"],
            rope_parameters={
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
                "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
            },
        ),
        LENGTHS,
    ),
    # YaRN in use beyond its original length.
    "llama-yarn": ("LlamaForCausalLM", dict(BASE, rope_parameters=YARN), LENGTHS),
    # Prompts that end inside the trained length (one of exactly that length would see what the text before it left in
    # the reference): then every position is stretched for a text that ends there.
    "llama-dynamic": (
        "LlamaForCausalLM",
        dict(
            BASE,
            max_position_embeddings=16,
            rope_parameters=dict(rope_type="dynamic", factor=4.0, rope_theta=10000.0),
        ),
        (1, 7, 12, 15),
    ),
    # Half of a head rotated, q/k norm, biases, the gate of DeepSeek-V3 without groups.
    "glm4-moe": (
        "Glm4MoeForCausalLM",
        dict(
            SPARSE,
            head_dim=16,
            partial_rotary_factor=0.5,
            attention_bias=True,
            use_qk_norm=True,
            moe_intermediate_size=24,
            n_routed_experts=6,
            num_experts_per_tok=2,
            n_shared_experts=1,
            first_k_dense_replace=1,
            n_group=1,
            topk_group=1,
            routed_scaling_factor=1.5,
            norm_topk_prob=True,
        ),
        LENGTHS,
    ),
    # q without LoRA, one group, biases, YaRN in the scores' scale, two shared experts, no dense layer.
    "deepseek-v3-plain": (
        "DeepseekV3ForCausalLM",
        dict(
            SPARSE,
            num_key_value_heads=4,
            attention_bias=True,
            rms_norm_eps=1e-3,
            q_lora_rank=None,
            kv_lora_rank=20,
            qk_nope_head_dim=12,
            qk_rope_head_dim=8,
            v_head_dim=16,
            moe_intermediate_size=24,
            n_routed_experts=5,
            num_experts_per_tok=3,
            n_shared_experts=2,
            first_k_dense_replace=0,
            n_group=1,
            topk_group=1,
            routed_scaling_factor=1.5,
            norm_topk_prob=False,
            rope_parameters=dict(YARN, mscale=1.0, mscale_all_dim=0.7),
        ),
        LENGTHS,
    ),
    # Other layers with a window, no biases on the projections, a truncated ramp, an odd number of experts.
    "gpt-oss-window": (
        "GptOssForCausalLM",
        dict(
            SPARSE,
            intermediate_size=40,
            head_dim=16,
            attention_bias=False,
            num_key_value_heads=1,
            sliding_window=8,
            layer_types=["full_attention", "sliding_attention"],
            num_local_experts=5,
            num_experts_per_tok=3,
            swiglu_limit=1.0,
            rope_parameters=dict(YARN, beta_fast=8.0, beta_slow=2.0, truncate=True),
        ),
        LENGTHS,
    ),
    # Tied, so that the embedding's multiplier and the logits' act on the same tensor; biases.
    "granitemoe-tied": (
        "GraniteMoeForCausalLM",
        dict(
            SPARSE,
            tie_word_embeddings=True,
            intermediate_size=32,
            attention_bias=True,
            num_local_experts=3,
            num_experts_per_tok=2,
            embedding_multiplier=3.0,
            residual_multiplier=0.6,
            attention_multiplier=0.2,
            logits_scaling=0.6,
        ),
        LENGTHS,
    ),
}
# Embeddings so small that the layers decide, where they are multiplied and tied.
SMALL = {"gemma3": 0.1, "granitemoe-tied": 0.2}
# Configurations that are published in the older form, which is what is saved then.
OLDER = {"mistral", "llama-yarn", "deepseek-v3-plain", "gemma3"}


def fill(model, seed, embedding):
    torch.manual_seed(seed)
    adds_one = "Gemma3" in type(model).__name__
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if "inv_freq" in name or "embed_scale" in name:
            continue
        with torch.no_grad():
            if "norm" in name and name.endswith("weight"):
                tensor.copy_((0 if adds_one else 1) + 0.2 * torch.randn_like(tensor))
            elif "embed" in name or "lm_head" in name:
                tensor.copy_(embedding * torch.randn_like(tensor))
            else:
                tensor.copy_(0.25 * torch.randn_like(tensor))


def older_form(config):
    """As transformers 4 wrote it."""
    rope = config.pop("rope_parameters")
    if "full_attention" in rope:
        full, sliding = rope["full_attention"], rope["sliding_attention"]
        config["rope_local_base_freq"] = sliding["rope_theta"]
        config["sliding_window_pattern"] = 2
        del config["layer_types"]
    else:
        full = rope
    config["rope_theta"] = full.pop("rope_theta")
    if full["rope_type"] != "default":
        config["rope_scaling"] = {("type" if key == "rope_type" else key): value for key, value in full.items()}
    config["torch_dtype"] = config.pop("dtype")
    return config


def main(folder, names):
    for seed, (name, (architecture, values, lengths)) in enumerate(VARIANTS.items(), 300):
        if names and name not in names:
            continue
        model_class = getattr(transformers, architecture)
        config = model_class.config_class(**values, attn_implementation="eager")
        model = model_class(config).float().eval()
        fill(model, seed, SMALL.get(name, 0.5))
        out = Path(folder) / name
        model.save_pretrained(out)
        path = out / "config.json"
        saved = json.loads(path.read_text())
        if name in OLDER:
            path.write_text(json.dumps(older_form(saved), indent=2) + "\n")
        logits, cases = {}, []
        generator = torch.Generator().manual_seed(seed)
        for i, length in enumerate(lengths):
            prompt = torch.randint(2, values["vocab_size"], (1, length), generator=generator)
            with torch.no_grad():
                result = model(prompt, output_hidden_states=True)
                logits[f"logits{i}"] = result.logits[0].contiguous()
                if length == 7:
                    logits["hidden1"] = torch.stack([h[0] for h in result.hidden_states])
                greedy, margin = [], float("inf")
                step = model(prompt, use_cache=True)
                for _ in range(32):
                    best = step.logits[0, -1].topk(2)
                    margin = min(margin, float(best.values[0] - best.values[1]))
                    greedy.append(int(best.indices[0]))
                    step = model(best.indices[:1].view(1, 1), cache=step.cache, use_cache=True)
            cases.append(dict(prompt=prompt[0].tolist(), greedy=greedy, minMargin=margin))
        save_file(logits, out / "golden.safetensors")
        reference = f"transformers {transformers.__version__}, torch {torch.__version__}, float32, eager"
        (out / "golden.json").write_text(json.dumps(dict(reference=reference, cases=cases)) + "\n")
        size = max(float(v.abs().max()) for k, v in logits.items() if k.startswith("logits"))
        print(name, "margins", [round(case["minMargin"], 4) for case in cases], "largest logit", round(size, 2))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
