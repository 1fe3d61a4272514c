// What a file's metadata and names make of a model, and what is refused.

import assert from 'node:assert/strict'
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openModel, readDeclaredModel, type Checkpoint } from '../../../../lib/model/checkpoint.js'
import { ggufBytes, type GgufTensor, type GgufValue } from '../../../../lib/model/gguf/writer.js'
import { sizeOf } from '../../../../lib/model/stored-tensor.js'

const HIDDEN = 16
const [HEADS, HEAD_DIM, VOCAB, FFN, EXPERTS] = [2, 4, 6, 8, 3]

const count = (value: number): GgufValue => ({ type: 'uint32', value })
const real = (value: number): GgufValue => ({ type: 'float32', value })
const text = (value: string): GgufValue => ({ type: 'string', value })

type Keys = Readonly<Record<string, GgufValue | undefined>>

const KEYS: Keys = {
  'general.architecture': text('llama'),
  'llama.block_count': count(1),
  'llama.context_length': count(64),
  'llama.embedding_length': count(HIDDEN),
  'llama.feed_forward_length': count(FFN),
  'llama.attention.head_count': count(HEADS),
  'llama.attention.key_length': count(HEAD_DIM),
  'llama.attention.value_length': count(HEAD_DIM),
  'llama.attention.layer_norm_rms_epsilon': real(1e-5),
  'llama.expert_count': count(EXPERTS),
  'llama.expert_used_count': count(2),
  'tokenizer.ggml.model': text('none'),
  'tokenizer.ggml.eos_token_id': count(2),
  'tokenizer.ggml.eot_token_id': count(3),
  'general.sampling.temp': real(0.5),
}

/** Values 0, 1, 2 … of a shape, outermost first. */
const tensor = (name: string, ...shape: number[]): GgufTensor => ({
  name,
  dims: [...shape].reverse(),
  format: 'F32',
  pieces: () => [Float32Array.from({ length: sizeOf(shape) }, (_, i) => i)],
})

const WIDTH = HEADS * HEAD_DIM
const TENSORS: readonly GgufTensor[] = [
  tensor('token_embd.weight', VOCAB, HIDDEN),
  tensor('output_norm.weight', HIDDEN),
  tensor('blk.0.attn_norm.weight', HIDDEN),
  tensor('blk.0.ffn_norm.weight', HIDDEN),
  ...['q', 'k', 'v'].map((name) => tensor(`blk.0.attn_${name}.weight`, WIDTH, HIDDEN)),
  tensor('blk.0.attn_output.weight', HIDDEN, WIDTH),
  tensor('blk.0.ffn_gate_inp.weight', EXPERTS, HIDDEN),
  tensor('blk.0.ffn_gate_up_exps.weight', EXPERTS, 2 * FFN, HIDDEN),
  tensor('blk.0.ffn_down_exps.weight', EXPERTS, HIDDEN, FFN),
]

describe('openModel of a GGUF file', () => {
  let folder: string
  before(() => (folder = mkdtempSync(join(tmpdir(), 'banyan-gguf-'))))
  after(() => rmSync(folder, { recursive: true }))

  function write(keys: Keys = {}, tensors = TENSORS): string {
    const metadata = Object.entries({ ...KEYS, ...keys }).flatMap(([key, value]) =>
      value === undefined ? [] : [[key, value] as const],
    )
    const path = join(folder, 'model.gguf')
    writeFileSync(path, Buffer.concat([...ggufBytes({ metadata, tensors })]))
    return path
  }

  async function opened<T>(path: string, look: (model: Checkpoint) => T): Promise<T> {
    const model = await openModel(path)
    try {
      return look(model)
    } finally {
      model.close()
    }
  }

  it('reads sizes, ends, defaults and a head that is the embedding', async () => {
    await opened(write(), ({ spec, defaults, tokenizer }) => {
      assert.deepEqual([spec.family, spec.hidden, spec.vocabSize, spec.maxPositions], ['mixtral', HIDDEN, VOCAB, 64])
      assert.deepEqual([spec.eosTokenIds, defaults.temperature, tokenizer], [[2, 3], 0.5, undefined])
      assert.equal(spec.lmHead.weight.name, spec.embedding.name)
    })
    const declared = await readDeclaredModel(folder) // the only file of the folder
    assert.equal(declared.spec.layers[0]?.ffn.experts.length, EXPERTS)
  })

  it('knows a file by its bytes, whatever its name is', async () => {
    const unnamed = join(folder, 'sha256-abc')
    copyFileSync(write(), unnamed)
    await opened(unnamed, ({ spec }) => assert.equal(spec.family, 'mixtral'))
    rmSync(unnamed)
  })

  it('reads rotated rows half a head apart, where the file has them side by side', async () => {
    await opened(write(), (model) => {
      const { attention } = model.spec.layers[0] ?? assert.fail()
      assert.ok(attention.kind === 'grouped')
      const q = model.tensor(attention.q.weight)
      const firsts = Array.from({ length: WIDTH }, (_, row) => (q[row * HIDDEN] ?? NaN) / HIDDEN)
      assert.deepEqual(firsts, [0, 2, 1, 3, 4, 6, 5, 7])
    })
  })

  it('reads experts out of one tensor of gate and up', async () => {
    await opened(write(), (model) => {
      const expert = model.spec.layers[0]?.ffn.experts[2] ?? assert.fail()
      const rows = [expert.gate, expert.up].map(({ weight }) => (model.tensor(weight)[0] ?? NaN) / HIDDEN)
      assert.deepEqual(rows, [2 * 2 * FFN, 2 * 2 * FFN + FFN])
      assert.equal(model.tensor(expert.down.weight)[0], 2 * HIDDEN * FFN)
    })
  })

  it('reads YaRN, with the factor of the scores as llama.cpp means it', async () => {
    const keys = {
      'llama.rope.scaling.type': text('yarn'),
      'llama.rope.scaling.factor': real(4),
      'llama.rope.scaling.original_context_length': count(16),
      'llama.rope.scaling.attn_factor': real(2),
    }
    await opened(write(keys), ({ spec }) => {
      const { scaling } = spec.layers[0]?.attention.rope ?? assert.fail()
      assert.ok(scaling.type === 'yarn')
      assert.deepEqual([scaling.factor, scaling.originalMaxPosition], [4, 16])
      assert.equal(scaling.attentionFactor, 2 * (1 + 0.1 * Math.log(4)))
    })
  })

  const headOf = (size: number): Keys => ({
    'llama.attention.key_length': count(size),
    'llama.attention.value_length': count(size),
  })
  const without = (name: string): readonly GgufTensor[] => TENSORS.filter((each) => each.name !== name)
  const refused: readonly (readonly [what: string, error: RegExp, keys?: Keys, tensors?: readonly GgufTensor[]])[] = [
    [
      'another architecture',
      /general\.architecture: want one of llama, .*got "mamba"/,
      { 'general.architecture': text('mamba') },
    ],
    ['no architecture', /general\.architecture: want a text, got nothing/, { 'general.architecture': undefined }],
    [
      'a key of the wrong type',
      /llama\.context_length: want a whole number, got "64"/,
      { 'llama.context_length': text('64') },
    ],
    [
      'more tokens than the embedding has rows',
      /gguf: token id 6: the model's vocabulary has 6/,
      {
        'tokenizer.ggml.model': text('gpt2'),
        'tokenizer.ggml.tokens': { type: 'strings', value: ['a', 'b', 'ab', 'Ġ', 'c', 'd', 'e'] },
        'tokenizer.ggml.token_type': { type: 'int32s', value: [1, 1, 1, 1, 1, 1, 1] },
        'tokenizer.ggml.merges': { type: 'strings', value: ['a b'] },
      },
    ],
    [
      'more layers than tensors',
      /llama\.block_count: want at most 11, .*got 4000000000/,
      { 'llama.block_count': count(4e9) },
    ],
    [
      'more experts than rows',
      /llama\.expert_count: want at most \d+, .*got 4000000000/,
      { 'llama.expert_count': count(4e9) },
    ],
    [
      'values of another width',
      /value_length: want the width of a head, 4, got 8/,
      { 'llama.attention.value_length': count(8) },
    ],
    [
      'no width',
      /llama\.embedding_length: want an integer of at least 1, got 0/,
      { 'llama.embedding_length': count(0), 'llama.attention.key_length': count(4) },
    ],
    ['no FFN', /llama\.feed_forward_length: want .*, got nothing/, { 'llama.feed_forward_length': undefined }],
    [
      'heads that do not divide the width',
      /llama\.attention\.head_count: want a divisor of llama\.embedding_length 16, got 3/,
      { 'llama.attention.head_count': count(3), 'llama.attention.key_length': undefined },
    ],
    [
      'KV heads that do not divide the heads',
      /llama\.attention\.head_count_kv: want a divisor of llama\.attention\.head_count 2, got 4/,
      { 'llama.attention.head_count_kv': count(4) },
    ],
    ['an odd head', /llama\.attention\.key_length: want an even number.*got 3/, headOf(3)],
    ['no context', /llama\.context_length: want an integer of at least 1, got 0/, { 'llama.context_length': count(0) }],
    [
      'more experts a token than there are',
      /llama\.expert_used_count: want at most llama\.expert_count 3, got 4/,
      { 'llama.expert_used_count': count(4) },
    ],
    [
      'a rotation without its factor',
      /gguf: llama\.rope\.scaling\.factor: want a positive number, got -1/,
      {
        'llama.rope.scaling.type': text('yarn'),
        'llama.rope.scaling.factor': real(-1),
        'llama.rope.scaling.original_context_length': count(16),
      },
    ],
    [
      'another rotation',
      /rope\.scaling\.type: want none, linear or yarn, got "longrope"/,
      { 'llama.rope.scaling.type': text('longrope') },
    ],
    [
      'latent attention',
      /general\.architecture: want one of llama, .*got "deepseek2"/,
      { 'general.architecture': text('deepseek2') },
    ],
    [
      'a part of several files under a name of its own',
      /split\.count: want one file, or a name/,
      { 'split.count': count(3) },
    ],
    [
      'another width',
      /tensor .*: want shape \[.*\] by .*model\.gguf, got \[/,
      { 'llama.feed_forward_length': count(9) },
    ],
    ['a missing tensor', /missing tensor blk\.0\.attn_k\.weight/, {}, without('blk.0.attn_k.weight')],
    [
      'a tensor that nothing uses',
      /got blk\.0\.attn_q_norm\.weight/,
      {},
      [...TENSORS, tensor('blk.0.attn_q_norm.weight', HEAD_DIM)],
    ],
    [
      'factors of another head',
      /rope_freqs\.weight: want 2 positive numbers/,
      {},
      [...TENSORS, tensor('rope_freqs.weight', 2)],
    ],
  ]
  for (const [what, error, keys, tensors] of refused) {
    it(`refuses ${what}`, async () => {
      const path = write(keys, tensors)
      await assert.rejects(openModel(path), (thrown: Error) => {
        assert.match(thrown.message, error)
        assert.ok(thrown.message.startsWith(path), thrown.message)
        return true
      })
    })
  }
})
