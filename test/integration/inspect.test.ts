// `banyan inspect`: what weight formats cost, matrix by matrix and in perplexity.

import assert from 'node:assert/strict'
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Inspection } from '../../cli/commands/inspect.js'
import { firstOf, measureMatrices } from '../../cli/inspect/matrices.js'
import { measurePerplexities } from '../../cli/inspect/perplexity.js'
import { quantisationError } from '../../lib/compute/quantise.js'
import { openCheckpoint, type Checkpoint } from '../../lib/model/checkpoint.js'
import { openSafetensors, writeSafetensors, type FloatTensor } from '../../lib/model/safetensors.js'
import { runCli } from '../helpers/cli.js'
import { demoModel, goldenModel } from '../helpers/paths.js'

const { signal } = new AbortController()

/** A copy of a golden checkpoint without a tensor, with other values where `change` puts them. */
function lacking(
  family: string,
  absent: string,
  change: (name: string, data: Float32Array) => void = () => undefined,
): string {
  const folder = mkdtempSync(join(tmpdir(), 'banyan-inspect-'))
  cpSync(join(goldenModel(family), 'config.json'), join(folder, 'config.json'))
  const file = openSafetensors(join(goldenModel(family), 'model.safetensors'))
  const tensors: Record<string, FloatTensor> = {}
  for (const [name, { shape }] of file.tensors) {
    const data = file.readFloat32(name)
    change(name, data)
    if (name !== absent) tensors[name] = { data, shape }
  }
  file.close()
  writeSafetensors(join(folder, 'model.safetensors'), tensors)
  return folder
}

describe('inspect', () => {
  let demo: Checkpoint
  before(() => (demo = openCheckpoint(demoModel)))
  after(() => demo.close())

  it('measures every matrix in every format: bytes, block size, relative error', async () => {
    const { kinds, each, float32 } = await measureMatrices(demo, { isComplete: true, signal })
    const { layers } = demo.spec
    assert.equal(each.length, layers.length * (4 + 3 * 16) + 1)
    assert.deepEqual(float32, [])
    for (const { formats, outputs, inputs } of each) {
      const { f32, f16, int8, int4, 'int8-auto': auto8, 'int4-auto': auto4 } = formats
      assert.deepEqual(f32, { bits: 32, blockSize: null, bytes: outputs * inputs * 4, relativeError: 0 })
      assert.deepEqual([f16.bits, f16.blockSize, f16.bytes], [16, null, outputs * inputs * 2])
      assert.ok(f16.relativeError < 2 ** -11 && f16.relativeError < int8.relativeError)
      assert.deepEqual([int8.bytes, int4.bytes], [outputs * inputs * 1.0625, outputs * inputs * 0.5625])
      assert.ok(auto8.bytes < int8.bytes && auto8.relativeError <= 1.6 * int8.relativeError)
      assert.ok(auto4.relativeError <= 1.2 * int4.relativeError)
    }
    const expert = layers[1]!.ffn.experts[3]!.down.weight
    const reported = each.find(({ name }) => name === expert.name)
    assert.equal(reported?.kind, 'expert down')
    const wanted = quantisationError(demo.tensor(expert), 4)
    assert.ok(Math.abs(reported.formats.int4.relativeError - wanted) < 1e-9)
    assert.deepEqual(
      kinds.map(({ kind, matrices, formats }) => [kind, matrices, formats['int4-auto'].blockSizes.length > 0]),
      [
        ...['q', 'k', 'v', 'o'].map((kind) => [kind, layers.length, true]),
        ...['expert gate', 'expert up', 'expert down'].map((kind) => [kind, layers.length * 16, true]),
        ['lm_head', 1, true],
      ],
    )
    const bits = (kind: string) => each.find((matrix) => matrix.kind === kind)?.formats['int4-auto'].bits
    assert.deepEqual([bits('q'), bits('lm_head'), bits('expert up')], [8, 8, 4])
  })

  it('names matrices that stay float32 because no block fits', async () => {
    const names = async (family: string): Promise<readonly string[]> => {
      const golden = openCheckpoint(goldenModel(family))
      const { each, float32 } = await measureMatrices(golden, { isComplete: true, signal })
      const declared = await measureMatrices(golden, { isComplete: false, signal })
      golden.close()
      assert.deepEqual(
        float32,
        each.filter(({ inputs }) => inputs % 32 !== 0).map(({ name }) => name),
      )
      assert.deepEqual(declared.float32, float32)
      return float32
    }
    assert.deepEqual(await names('mixtral'), [])
    assert.notEqual((await names('qwen3-moe')).length, 0)
  })

  it('tells which tensors are missing, beside what it knows all the same, and then that this cannot be served', async () => {
    const folder = lacking('mixtral', 'model.norm.weight')
    try {
      const { code, stdout, stderr } = await runCli(['inspect', folder, '--json'])
      const { family, missing, matrices } = JSON.parse(stdout) as Inspection // its documented output
      assert.deepEqual([code, family, missing, matrices], [1, 'mixtral', ['model.norm.weight'], null])
      assert.match(stderr, /^banyan: invalid_argument: [^\n]*: missing tensor model\.norm\.weight\n$/)
      const words = await runCli(['inspect', folder])
      assert.equal(words.code, 1)
      assert.match(words.stdout, /^missing +model\.norm\.weight$/m)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('finds a NaN in what is no matrix, too', async () => {
    const folder = lacking('mixtral', '', (name, data) => name === 'model.norm.weight' && data.fill(NaN, 5, 6))
    const checkpoint = openCheckpoint(folder)
    try {
      await assert.rejects(measureMatrices(checkpoint, { isComplete: false, signal }), {
        code: 'invalid_argument',
        message: /tensor model\.norm\.weight: want finite values, got 1 of 64 .* NaN at \[5\]/,
      })
    } finally {
      checkpoint.close()
      rmSync(folder, { recursive: true })
    }
  })

  it('lists the first of many names', () => {
    const names = (count: number): string[] => Array.from({ length: count }, (_, i) => `t${i}`)
    assert.equal(firstOf(names(16), '--json'), names(16).join(', '))
    assert.equal(firstOf(names(1000), '--json'), `${names(16).join(', ')} and 984 more (--json: all)`)
  })

  it('stops where it is interrupted', async () => {
    const stopped = AbortSignal.abort()
    await assert.rejects(measureMatrices(demo, { isComplete: false, signal: stopped }), { code: 'cancelled' })
  })

  it('judges a text in every format, float32 first', async () => {
    const text = 'export interface Room {\n    readonly numBytes: number;\n    reset(): void;\n}\n'.repeat(3)
    const results = await measurePerplexities(demo, { signal, text, threads: 1 })
    assert.deepEqual(
      results.map(({ weights }) => weights),
      ['f32', 'f16', 'int8', 'int4', 'int8-auto', 'int4-auto'],
    )
    for (const { perplexity, change } of results) {
      assert.ok(perplexity > 1 && perplexity < demo.spec.vocabSize)
      assert.ok(Math.abs(change) < 0.3, `${change}`)
    }
    assert.equal(results[0]?.change, 0)
    const [, f16, int8, int4] = results.map(({ change }) => Math.abs(change))
    assert.ok(f16! < int8! && int8! < int4!)
  })

  it('wants a text', async () => {
    const golden = openCheckpoint(goldenModel('qwen3-moe'))
    await assert.rejects(measurePerplexities(golden, { signal }), { code: 'failed_precondition' })
    golden.close()
  })
})
