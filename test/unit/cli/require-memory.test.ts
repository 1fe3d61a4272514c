import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { requireMemory } from '../../../cli/cluster/require-memory.js'
import { QWEN3_30B_A3B } from '../../helpers/declared-models.js'
import { writeSparseModel } from '../../helpers/sparse-model.js'

describe('the memory of a cluster on one machine', () => {
  let model: string
  before(() => {
    model = mkdtempSync(join(tmpdir(), 'banyan-memory-'))
    writeSparseModel(model, QWEN3_30B_A3B)
  })
  after(() => rmSync(model, { recursive: true, force: true }))

  const config = { weights: 'int8', attention: 1, experts: 8, replicas: 1, device: 'cpu' } as const
  const check = (changes: object, gigabytes: number, isOneProcess = false) => {
    const room = { bytes: gigabytes * 1e9, because: 'a test says so' }
    return requireMemory(
      { attentionDevice: undefined, expertDevice: undefined, ...config, model, ...changes },
      isOneProcess,
      room,
    )
  }
  const refuses = (refusal: Promise<void>, message: RegExp) =>
    assert.rejects(refusal, { code: 'resource_exhausted', message })

  it('is enough where the weights of all workers fit, and each into its process', () => check({}, 34))

  it('is refused where all together are more', () =>
    refuses(
      check({}, 20),
      /in int8: 1 × attention and LM head \(1\.\d\d GB\) \+ 1 × experts of \d+ shards \(30\.80 GB\): want 32\.\d\d GB, got room for 20\.00 GB \(a test says so\); use a smaller format/,
    ))

  it('counts replicas, as many as there are workers', () =>
    refuses(check({ replicas: 9 }, 40), /8 × experts of \d+ shards \(30\.80 GB\): want 24\d\.\d\d GB/))

  it('is refused where a process would hold more than it can address, saying how many would do', () =>
    refuses(
      check({ experts: 2 }, 64),
      /for each of 2 expert workers: want 15\.40 GB, got room for 4\.29 GB .*use --experts 8/,
    ))

  it('is that of one process where all services share it', () =>
    refuses(check({}, 64, true), /want 32\.\d\d GB, got room for 4\.29 GB/))

  it('does not count what GPUs hold', () => check({ expertDevice: 'cuda:0' }, 4))
})
