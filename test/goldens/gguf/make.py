"""Tiny GGUF files, written by the gguf package under the names that its own tables have for published tensors, and what
the reference implementation makes of the same weights: logits and greedy ids.

Run in this folder: python make.py. Versions in ../../fixtures/gguf/README.md.
"""

import json
import math
import os
import re

import gguf
import numpy as np
import torch
import transformers as tf
from gguf import GGMLQuantizationType as Q
from gguf import MODEL_ARCH as A
from safetensors.numpy import save_file

VOCAB = 101
COMMON = dict(
    vocab_size=VOCAB, hidden_size=64, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
    max_position_embeddings=128, rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2, pad_token_id=None,
)  # fmt: skip


def randomise(model, has_centred_norms):
    for name, tensor in model.named_parameters():
        if "norm" in name:
            tensor.data = torch.randn_like(tensor) * 0.1 + (0 if has_centred_norms else 1)
        elif tensor.dim() == 1 or "bias" in name or "sinks" in name:
            tensor.data = torch.randn_like(tensor) * 0.3
        else:
            tensor.data = torch.randn_like(tensor) / math.sqrt(tensor.shape[-1])


def neighbours(rows, heads):
    """Halves of a head's rotation become neighbours, as llama.cpp's converter writes them."""
    head = rows.shape[0] // heads
    return rows.reshape(heads, 2, head // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


class Writer:
    def __init__(self, folder, arch, config):
        os.makedirs(folder, exist_ok=True)
        self.writer = gguf.GGUFWriter(f"{folder}/model.gguf", gguf.MODEL_ARCH_NAMES[arch])
        self.names = gguf.get_tensor_name_map(arch, config.num_hidden_layers)
        w = self.writer
        w.add_context_length(config.max_position_embeddings)
        w.add_embedding_length(config.hidden_size)
        w.add_block_count(config.num_hidden_layers)
        w.add_feed_forward_length(config.intermediate_size)
        w.add_head_count(config.num_attention_heads)
        w.add_head_count_kv(config.num_key_value_heads)
        w.add_layer_norm_rms_eps(config.rms_norm_eps)
        w.add_tokenizer_model("none")
        w.add_bos_token_id(1)
        w.add_eos_token_id(2)

    def name(self, published):
        found = self.names.get_name(published, try_suffixes=(".weight", ".bias"))
        assert found is not None, published
        return found

    def tensor(self, name, values, qtype=Q.F32):
        values = np.ascontiguousarray(values, dtype=np.float32)
        data = gguf.quants.quantize(values, qtype)
        self.writer.add_tensor(name, data, raw_dtype=None if qtype in (Q.F32, Q.F16) else qtype)

    def close(self):
        self.writer.write_header_to_file()
        self.writer.write_kv_data_to_file()
        self.writer.write_tensors_to_file()
        self.writer.close()


def through(values, qtype):
    """What is left of values that went through a format."""
    if qtype == Q.F32:
        return values
    array = np.ascontiguousarray(values.numpy())
    return torch.from_numpy(gguf.quants.dequantize(gguf.quants.quantize(array, qtype), qtype).reshape(array.shape).copy())


def round_weights(model, formats):
    """Every matrix takes the values that its format in the file leaves of it."""
    for name, tensor in model.named_parameters():
        tensor.data = through(tensor.data, format_of(name, formats))


def format_of(name, formats):
    return next((qtype for pattern, qtype in formats if re.search(pattern, name)), Q.F32)


def save_golden(folder, model):
    model.eval()
    cases, logits = [], {}
    generator = torch.Generator().manual_seed(4)
    for i, length in enumerate([1, 7, 40]):
        prompt = torch.randint(3, VOCAB, (length,), generator=generator).tolist()
        with torch.no_grad():
            logits[f"logits{i}"] = model(torch.tensor([prompt])).logits[0].float().numpy()
            ids, margin = list(prompt), math.inf
            for _ in range(32):
                last = model(torch.tensor([ids])).logits[0, -1]
                best = torch.topk(last, 2).values
                margin = min(margin, (best[0] - best[1]).item())
                ids.append(last.argmax().item())
        print(folder, length, "margin", round(margin, 5), "largest", round(float(abs(logits[f"logits{i}"]).max()), 2))
        cases.append({"prompt": prompt, "greedy": ids[length:], "minMargin": margin})
    save_file(logits, f"{folder}/golden.safetensors")
    with open(f"{folder}/golden.json", "w") as file:
        json.dump({"cases": cases}, file)


def build(config, implementation, formats, has_centred_norms=False):
    config._attn_implementation = "eager"
    model = implementation(config).float()
    randomise(model, has_centred_norms)
    round_weights(model, formats)
    return model


def named(model):
    return {name: tensor.detach() for name, tensor in model.state_dict().items()}


# Older Mixtral: a tensor per expert.
def mixtral_split():
    config = tf.MixtralConfig(**COMMON, intermediate_size=96, num_local_experts=3, num_experts_per_tok=2, head_dim=16,
                              sliding_window=None, rope_parameters={"rope_type": "default", "rope_theta": 1e6})  # fmt: skip
    formats = [("experts", Q.Q5_1), ("proj|embed|lm_head", Q.F16)]
    model = build(config, tf.MixtralForCausalLM, formats)
    out = Writer("mixtral-split", A.LLAMA, config)
    out.writer.add_vocab_size(VOCAB)
    out.writer.add_rope_dimension_count(16)
    out.writer.add_rope_freq_base(1e6)
    out.writer.add_expert_count(3)
    out.writer.add_expert_used_count(2)
    for name, values in named(model).items():
        layer = re.search(r"layers\.(\d+)\.", name)
        if "experts.gate_up_proj" in name:
            for e in range(3):
                out.tensor(f"blk.{layer[1]}.ffn_gate.{e}.weight", values[e, :96], Q.Q5_1)
                out.tensor(f"blk.{layer[1]}.ffn_up.{e}.weight", values[e, 96:], Q.Q5_1)
        elif "experts.down_proj" in name:
            for e in range(3):
                out.tensor(f"blk.{layer[1]}.ffn_down.{e}.weight", values[e], Q.Q5_1)
        elif "mlp.gate.weight" in name:
            out.tensor(f"blk.{layer[1]}.ffn_gate_inp.weight", values)
        else:
            heads = 4 if "q_proj" in name else 2
            values = neighbours(values, heads) if re.search("[qk]_proj", name) else values
            out.tensor(out.name(name), values, format_of(name, formats))
    out.close()
    save_golden("mixtral-split", model)


# Llama 3: stretched frequencies, biases, the embedding as the head.
def llama3():
    rope = {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 32}  # fmt: skip
    config = tf.LlamaConfig(**COMMON, intermediate_size=96, attention_bias=True, mlp_bias=True,
                            tie_word_embeddings=True, rope_parameters=rope)  # fmt: skip
    formats = [("proj.weight", Q.Q8_0), ("embed", Q.Q4_1)]
    model = build(config, tf.LlamaForCausalLM, formats)
    out = Writer("llama3", A.LLAMA, config)
    out.writer.add_vocab_size(VOCAB)
    out.writer.add_rope_dimension_count(16)
    out.writer.add_rope_freq_base(10000.0)
    for name, values in named(model).items():
        if name == "lm_head.weight":
            continue
        heads = 4 if "q_proj" in name else 2
        values = neighbours(values, heads) if re.search("[qk]_proj", name) else values
        out.tensor(out.name(name), values, format_of(name, formats))
    plain = 1.0 / (10000.0 ** (torch.arange(0, 16, 2, dtype=torch.float32) / 16))
    out.tensor("rope_freqs.weight", plain / model.model.rotary_emb.inv_freq)
    out.close()
    save_golden("llama3", model)


def qwen2():
    config = tf.Qwen2Config(**COMMON, intermediate_size=96, use_sliding_window=False,
                            rope_parameters={"rope_type": "default", "rope_theta": 1e6})  # fmt: skip
    formats = [("proj.weight", Q.BF16), ("embed|lm_head", Q.Q5_0)]
    model = build(config, tf.Qwen2ForCausalLM, formats)
    out = Writer("qwen2", A.QWEN2, config)
    out.writer.add_rope_freq_base(1e6)
    for name, values in named(model).items():
        out.tensor(out.name(name), values, format_of(name, formats))
    out.close()
    save_golden("qwen2", model)


def gpt_oss():
    rope = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "beta_fast": 32.0, "beta_slow": 1.0,
            "truncate": False, "original_max_position_embeddings": 32}  # fmt: skip
    config = tf.GptOssConfig(**COMMON, intermediate_size=96, num_local_experts=5, num_experts_per_tok=2, head_dim=16,
                             sliding_window=8, rope_parameters=rope)  # fmt: skip
    formats = [("self_attn.._proj.weight", Q.Q8_0)]
    model = build(config, tf.GptOssForCausalLM, formats)
    for layer in model.model.layers:  # transposed there, rows of the file here
        for name in ["gate_up_proj", "down_proj"]:
            tensor = getattr(layer.mlp.experts, name)
            tensor.data = through(tensor.data.transpose(1, 2).contiguous(), Q.MXFP4).transpose(1, 2).contiguous()
    out = Writer("gpt-oss", A.GPT_OSS, config)
    w = out.writer
    w.add_key_length(16)
    w.add_value_length(16)
    w.add_rope_freq_base(10000.0)
    w.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    w.add_rope_scaling_factor(4.0)
    w.add_rope_scaling_orig_ctx_len(32)
    w.add_sliding_window(8)
    w.add_expert_feed_forward_length(96)
    w.add_expert_count(5)
    w.add_expert_used_count(2)
    for name, values in named(model).items():
        base = name.rsplit(".", 1)[0]
        if name.endswith("gate_up_proj"):
            rows = values.transpose(1, 2)
            out.tensor(out.name(f"{base}.gate_proj.weight"), rows[:, ::2], Q.MXFP4)
            out.tensor(out.name(f"{base}.up_proj.weight"), rows[:, 1::2], Q.MXFP4)
        elif name.endswith("gate_up_proj_bias"):
            out.tensor(out.name(f"{base}.gate_proj.bias"), values[:, ::2])
            out.tensor(out.name(f"{base}.up_proj.bias"), values[:, 1::2])
        elif name.endswith("experts.down_proj"):
            out.tensor(out.name(f"{base}.down_proj.weight"), values.transpose(1, 2), Q.MXFP4)
        elif name.endswith("experts.down_proj_bias"):
            out.tensor(out.name(f"{base}.down_proj.bias"), values)
        else:
            published = f"{name}.weight" if name.endswith("sinks") else name
            out.tensor(out.name(published), values, format_of(name, formats))
    out.close()
    save_golden("gpt-oss", model)


def gemma3():
    sizes = {**COMMON, "num_hidden_layers": 7}
    config = tf.Gemma3TextConfig(**sizes, intermediate_size=96, head_dim=24, query_pre_attn_scalar=24, sliding_window=8,
                                 rope_parameters={"sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
                                 "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6}})  # fmt: skip
    formats = [("gate_proj|up_proj", Q.Q4_0), ("embed", Q.Q8_0), ("proj.weight", Q.BF16)]
    model = build(config, tf.Gemma3ForCausalLM, formats, has_centred_norms=True)
    out = Writer("gemma3", A.GEMMA3, config)
    w = out.writer
    w.add_key_length(24)
    w.add_value_length(24)
    w.add_rope_freq_base(1e6)
    w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
    w.add_rope_scaling_factor(8.0)
    w.add_sliding_window(8)
    for name, values in named(model).items():
        if name == "lm_head.weight":
            continue
        values = values + 1 if name.endswith("norm.weight") else values
        out.tensor(out.name(name), values, format_of(name, formats))
    out.close()
    save_golden("gemma3", model)


def granite_moe():
    config = tf.GraniteMoeConfig(**COMMON, intermediate_size=32, num_local_experts=6, num_experts_per_tok=3,
                                 embedding_multiplier=6.0, logits_scaling=3.0, residual_multiplier=0.4,
                                 attention_multiplier=0.2, tie_word_embeddings=True,
                                 rope_parameters={"rope_type": "default", "rope_theta": 10000.0})  # fmt: skip
    formats = [("gate_up_proj|down_proj", Q.F16)]
    model = build(config, tf.GraniteMoeForCausalLM, formats)
    out = Writer("granitemoe", A.GRANITE_MOE, config)
    w = out.writer
    w.add_vocab_size(VOCAB)
    w.add_rope_dimension_count(16)
    w.add_rope_freq_base(10000.0)
    w.add_expert_count(6)
    w.add_expert_used_count(3)
    w.add_attention_scale(0.2)
    w.add_embedding_scale(6.0)
    w.add_residual_scale(0.4)
    w.add_logit_scale(3.0)
    for name, values in named(model).items():
        layer = re.search(r"layers\.(\d+)\.", name)
        if name == "lm_head.weight":
            continue
        if name.endswith("gate_up_proj"):
            out.tensor(f"blk.{layer[1]}.ffn_gate_exps.weight", values[:, :32], Q.F16)
            out.tensor(f"blk.{layer[1]}.ffn_up_exps.weight", values[:, 32:], Q.F16)
        elif name.endswith("down_proj"):
            out.tensor(f"blk.{layer[1]}.ffn_down_exps.weight", values, Q.F16)
        elif "router" in name:
            out.tensor(f"blk.{layer[1]}.ffn_gate_inp.weight", values)
        else:
            heads = 4 if "q_proj" in name else 2
            values = neighbours(values, heads) if re.search("[qk]_proj", name) else values
            out.tensor(out.name(name), values)
    out.close()
    save_golden("granitemoe", model)


for make in [mixtral_split, llama3, qwen2, gpt_oss, gemma3, granite_moe]:
    torch.manual_seed(9)
    make()
