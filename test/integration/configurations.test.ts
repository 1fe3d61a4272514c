// Small random checkpoints over what real configurations vary (and the goldens do not), through the cluster, against a
// float64 reference that shares no code with it. The seed of every checkpoint is its place in the list.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { specOf } from '../../lib/model/families/registry.js'
import { wantedTensors } from '../../lib/model/checkpoint.js'
import { writeSafetensors, type FloatTensor } from '../../lib/model/safetensors.js'
import { packI32, readF32 } from '../../lib/wire/tensor.js'
import { referenceLogits, type ReferenceConfig } from '../helpers/reference-model.js'
import { startTestCluster } from '../helpers/test-cluster.js'

type Config = ReferenceConfig & Readonly<Record<string, unknown>>

const base = {
  hidden_size: 64,
  intermediate_size: 96,
  moe_intermediate_size: 48,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 16,
  num_hidden_layers: 2,
  vocab_size: 311,
  rms_norm_eps: 1e-6,
  max_position_embeddings: 256,
  eos_token_id: 0,
  rope_parameters: { rope_type: 'default', rope_theta: 10_000 },
}
const llama = { ...base, model_type: 'llama', architectures: ['LlamaForCausalLM'] }
const qwen3 = { ...base, model_type: 'qwen3', architectures: ['Qwen3ForCausalLM'] }
const qwen3Moe = {
  ...base,
  model_type: 'qwen3_moe',
  architectures: ['Qwen3MoeForCausalLM'],
  num_experts: 10,
  num_experts_per_tok: 3,
}
const qwen2Moe = {
  ...base,
  model_type: 'qwen2_moe',
  architectures: ['Qwen2MoeForCausalLM'],
  num_experts: 6,
  num_experts_per_tok: 2,
  shared_expert_intermediate_size: 40,
}
const olmoe = {
  ...base,
  model_type: 'olmoe',
  architectures: ['OlmoeForCausalLM'],
  num_experts: 5,
  num_experts_per_tok: 2,
  num_key_value_heads: 4,
}
const mixtral = {
  ...base,
  model_type: 'mixtral',
  architectures: ['MixtralForCausalLM'],
  num_local_experts: 3,
  num_experts: 3,
  num_experts_per_tok: 2,
}

const CASES: readonly (readonly [title: string, config: Config])[] = [
  ['one KV head', { ...llama, num_key_value_heads: 1 }],
  ['as many KV heads as heads', { ...llama, num_key_value_heads: 4 }],
  [
    'three query heads on each KV head, odd sizes',
    { ...llama, num_attention_heads: 6, num_key_value_heads: 2, head_dim: 10, intermediate_size: 33 },
  ],
  ['a hidden size that is no multiple of 32', { ...llama, hidden_size: 40 }],
  ['biases everywhere', { ...llama, attention_bias: true, mlp_bias: true }],
  ['tied embeddings, head_dim wider than hidden / heads', { ...qwen3, tie_word_embeddings: true, head_dim: 32 }],
  [
    'Llama 3 rope',
    {
      ...llama,
      rope_parameters: {
        rope_type: 'llama3',
        rope_theta: 5e5,
        factor: 8,
        low_freq_factor: 1,
        high_freq_factor: 4,
        original_max_position_embeddings: 32,
      },
    },
  ],
  ['10 experts, top 3, renormalised', { ...qwen3Moe, norm_topk_prob: true }],
  ['10 experts, top 3, not renormalised', { ...qwen3Moe, norm_topk_prob: false }],
  ['one expert', { ...qwen3Moe, num_experts: 1, num_experts_per_tok: 1, norm_topk_prob: false }],
  ['all experts chosen', { ...qwen3Moe, num_experts: 4, num_experts_per_tok: 4 }],
  ['dense layers by mlp_only_layers', { ...qwen3Moe, num_hidden_layers: 3, mlp_only_layers: [0, 2] }],
  ['dense layers by decoder_sparse_step', { ...qwen2Moe, num_hidden_layers: 3, decoder_sparse_step: 2 }],
  ['a shared expert, without q/k/v bias', { ...qwen2Moe, qkv_bias: false }],
  ['a shared expert, renormalised', { ...qwen2Moe, norm_topk_prob: true }],
  ['clip_qkv', { ...olmoe, clip_qkv: 0.5 }],
  ['q/k norm over the whole projection, renormalised', { ...olmoe, norm_topk_prob: true }],
  ['three experts, softmax over the chosen', mixtral],
]

/** xorshift32 in [-0.5, 0.5). */
function generator(seed: number): () => number {
  let state = (seed + 1) * 2654435761
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 2 ** 32 - 0.5
  }
}

function randomTensors(config: Config, seed: number): Record<string, FloatTensor> {
  const random = generator(seed)
  const tensors: Record<string, FloatTensor> = {}
  for (const { name, shape } of wantedTensors(specOf(config, 'config.json')).values()) {
    const size = shape.reduce((product, axis) => product * axis, 1)
    const isNorm = name.includes('norm')
    const scale = name.includes('embed') ? 2 : 0.4
    tensors[name] = {
      shape,
      data: Float32Array.from({ length: size }, () => (isNorm ? 1 + 0.2 * random() : scale * random())),
    }
  }
  return tensors
}

describe('configurations against a float64 reference', function () {
  this.timeout(30_000)
  let folder: string
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'banyan-config-'))
  })
  after(() => rmSync(folder, { recursive: true }))

  for (const [seed, [title, config]] of CASES.entries()) {
    it(title, async () => {
      const tensors = randomTensors(config, seed)
      writeFileSync(join(folder, 'config.json'), JSON.stringify(config))
      writeSafetensors(join(folder, 'model.safetensors'), tensors)
      const tokens = Array.from({ length: 40 }, (_, i) => (i * 37 + seed) % config.vocab_size)
      const wanted = referenceLogits(config, new Map(Object.entries(tensors)), tokens).flat()
      const cluster = await startTestCluster({
        model: folder,
        weights: 'f32',
        prefillChunk: 17,
        draft: [],
        drafters: 0,
      })
      try {
        const message = { kind: 'router.logits', body: { tokens: packI32(tokens) }, replyKind: 'logits.page' } as const
        const { logits } = await cluster.system.ask('router-0', message, { timeoutMs: 20_000 })
        const worst = readF32(logits, 'logits').reduce(
          (most, value, i) => Math.max(most, Math.abs(value - (wanted[i] ?? NaN))),
          0,
        )
        const size = Math.max(...wanted.map(Math.abs))
        assert.ok(worst < 2e-5 * Math.max(1, size), `seed ${seed}: worst logit off by ${worst} at a size of ${size}`)
      } finally {
        await cluster.stop()
      }
    })
  }
})
