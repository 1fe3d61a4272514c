import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { writeSyntheticCheckpoint, type SyntheticShape } from '../../../bench/synthetic.js'
import { ClusterError } from '../../../lib/errors.js'
import { openCheckpoint } from '../../../lib/model/checkpoint.js'

const shape: SyntheticShape = {
  layers: 2,
  experts: 4,
  expertsPerToken: 2,
  hidden: 64,
  expertIntermediate: 32,
  heads: 2,
  kvHeads: 1,
  headDim: 32,
  vocabSize: 100,
  maxPositions: 128,
}

describe('synthetic checkpoints', () => {
  let folder: string
  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'banyan-synthetic-'))))
  afterEach(() => rmSync(folder, { recursive: true }))
  const make = (name: string, seed: number): Buffer => {
    writeSyntheticCheckpoint(join(folder, name), shape, seed)
    return readFileSync(join(folder, name, 'model.safetensors'))
  }

  it('are a function of shape and seed (SY1)', () => {
    const first = make('a', 1)
    assert.ok(first.equals(make('b', 1)))
    assert.ok(!first.equals(make('c', 2)))
  })

  it('load as a model of that shape, and are reused when whole (SY2)', () => {
    make('a', 1)
    const checkpoint = openCheckpoint(join(folder, 'a'))
    const { hidden, layers, vocabSize } = checkpoint.spec
    assert.deepEqual([hidden, layers.length, layers[0]?.ffn.experts.length, vocabSize], [64, 2, 4, 100])
    checkpoint.close()
    assert.equal(writeSyntheticCheckpoint(join(folder, 'a'), shape, 1), 'reused')
  })

  it('never overwrite a model that was not made here', () => {
    writeFileSync(join(folder, 'config.json'), '{}')
    assert.throws(
      () => writeSyntheticCheckpoint(folder, shape, 1),
      (error) => error instanceof ClusterError && error.code === 'failed_precondition',
    )
  })
})
