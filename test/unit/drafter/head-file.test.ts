// Decides what is said where a draft head is missing, incomplete or of another model.

import assert from 'node:assert/strict'
import { cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../../../lib/actor/clock.js'
import { ClusterError, type ErrorCode } from '../../../lib/errors.js'
import type { DrafterOptions } from '../../../lib/config/service.js'
import { openCheckpoint, type Checkpoint } from '../../../lib/model/checkpoint.js'
import { openSafetensors, writeSafetensors, type FloatTensor } from '../../../lib/model/safetensors.js'
import { createEagleLayer } from '../../../services/drafter/eagle-layer.js'
import { headPath, openHeadFile } from '../../../services/drafter/head-file.js'
import { createMedusa } from '../../../services/drafter/medusa.js'
import { openSources, sourceNames } from '../../../services/drafter/open-sources.js'
import { demoModel, goldenModel } from '../../helpers/paths.js'
import { COMPUTE, openDemo } from './demo-heads.js'

const isError =
  (code: ErrorCode, ...parts: readonly string[]) =>
  (error: unknown) =>
    error instanceof ClusterError && error.code === code && parts.every((part) => error.message.includes(part))

/** Tensors to leave out, or of another shape. */
type Changes = Readonly<Record<string, readonly number[] | undefined>>

describe('head files', () => {
  const checkpoint = openDemo()
  let folder: string
  let path: string
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'banyan-test-'))
    path = join(folder, 'head.safetensors')
  })
  after(() => {
    checkpoint.close()
    rmSync(folder, { recursive: true })
  })

  /** Writes the demonstration model's head with changes, and makes the source from it. */
  function openChanged(kind: 'eagle' | 'medusa', changes: Changes): void {
    const original = openSafetensors(headPath(demoModel, kind))
    const tensors: Record<string, FloatTensor> = {}
    for (const [name, { shape }] of original.tensors) tensors[name] = { data: original.readFloat32(name), shape }
    original.close()
    for (const [name, shape] of Object.entries(changes)) {
      if (shape === undefined) delete tensors[name]
      else tensors[name] = { data: new Float32Array(shape.reduce((size, axis) => size * axis, 1)), shape }
    }
    writeSafetensors(path, tensors)
    const file = openHeadFile(path)
    try {
      const create = kind === 'eagle' ? createEagleLayer : createMedusa
      create(checkpoint, file, COMPUTE).dispose()
    } finally {
      file.close()
    }
  }

  it('are taken as they are published', () => {
    openChanged('eagle', {})
    openChanged('medusa', {})
  })

  for (const [kind, name] of [
    ['eagle', 'fc.weight'],
    ['eagle', 'self_attn.q_proj.weight'],
    ['eagle', 'post_attention_layernorm.weight'],
    ['eagle', 'down_proj.weight'],
    ['medusa', 'res.1.weight'],
  ] as const) {
    it(`of ${kind} without ${name} are refused, naming it`, () =>
      assert.throws(() => openChanged(kind, { [name]: undefined }), isError('invalid_argument', path, name)))
  }

  for (const [kind, name, shape] of [
    ['eagle', 'fc.weight', [192, 192]],
    ['eagle', 'fc.weight', [96, 384]],
    ['eagle', 'self_attn.q_proj.weight', [200, 192]],
    ['eagle', 'self_attn.v_proj.weight', [32, 192]],
    ['eagle', 'self_attn.o_proj.weight', [96, 192]],
    ['eagle', 'self_attn.q_norm.weight', [16]],
    ['eagle', 'input_layernorm.weight', [100]],
    ['eagle', 'up_proj.weight', [100, 192]],
    ['eagle', 'down_proj.weight', [192, 100]],
    ['medusa', 'res.0.weight', [192, 100]],
    ['medusa', 'res.0.weight', [100, 192]],
    ['medusa', 'res.0.bias', [100]],
    ['medusa', 'heads.2.weight', [4096, 100]],
    ['medusa', 'heads.2.weight', [5000, 192]],
  ] as const) {
    it(`of ${kind} with ${name} [${shape.join(', ')}] are refused, naming it`, () =>
      assert.throws(() => openChanged(kind, { [name]: shape }), isError('invalid_argument', path, name)))
  }

  it('of eagle whose query heads its KV heads do not divide are refused', () => {
    const shape = [128, 192]
    assert.throws(
      () => openChanged('eagle', { 'self_attn.k_proj.weight': shape, 'self_attn.v_proj.weight': shape }),
      isError('invalid_argument', path, 'self_attn.k_proj.weight', 'the 6 of self_attn.q_proj.weight, got 4'),
    )
  })

  it('of Medusa without a head are refused', () =>
    assert.throws(
      () =>
        openChanged('medusa', {
          ...Object.fromEntries([0, 1, 2, 3].map((k) => [`heads.${k}.weight`, undefined])),
        }),
      isError('invalid_argument', path, 'heads.0.weight'),
    ))
})

describe('openSources', () => {
  const options = {
    model: { path: goldenModel('qwen3-moe'), weights: 'f32' },
    threads: 1,
    machineCode: true,
    sharedNoise: true,
    ahead: true,
  } as const
  let unfit: ClusterError[]
  beforeEach(() => {
    unfit = []
  })
  const around = {
    clock: systemClock,
    kernels: () => COMPUTE.kernels,
    onUnfit: (error: ClusterError) => unfit.push(error),
  }
  const open = (sources: readonly string[], more: Partial<DrafterOptions> = {}) =>
    openSources({ ...options, ...more, sources }, around)

  for (const kind of ['eagle', 'medusa'] as const) {
    it(`refuses ${kind} where its file is not there, naming the file`, () =>
      assert.rejects(open([kind]), isError('failed_precondition', headPath(options.model.path, kind))))
  }

  it('refuses a draft model that it was not given', () =>
    assert.rejects(open(['model']), isError('failed_precondition', '--draft-model')))

  it('refuses a draft model that is not there, naming the folder', () =>
    assert.rejects(open(['model'], { draftModel: '/nowhere/at/all' }), isError('not_found', '/nowhere/at/all')))

  it('opens what there is for `auto`, its names in the order of the bits', async () => {
    const sources = await open(['auto'])
    assert.deepEqual(sources.names.slice(0, -1), sourceNames({ ...options, sources: ['auto'] }))
    assert.deepEqual([sources.medusa, sources.models, sources.hidden], [undefined, [], 0])
    sources.dispose()
  })

  it('opens heads and draft models behind the text sources', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'banyan-test-'))
    cpSync(demoModel, folder, { recursive: true, dereference: true })
    mkdirSync(join(folder, 'medusa'), { recursive: true })
    const model = { path: folder, weights: 'f32' } as const
    const sources = await open(['medusa', 'model', 'eagle', 'suffix'], { model, draftModel: demoModel })
    assert.deepEqual(sources.names.slice(0, -1), ['suffix', 'medusa', 'eagle', 'model'])
    assert.equal(sources.hidden, 192)
    sources.dispose()
    rmSync(folder, { recursive: true })
  })

  describe('beside a model with latent attention', () => {
    let folder: string
    before(() => {
      folder = mkdtempSync(join(tmpdir(), 'banyan-test-'))
      cpSync(goldenModel('deepseek-v3'), folder, { recursive: true })
      cpSync(join(demoModel, 'eagle'), join(folder, 'eagle'), { recursive: true })
      const { hidden, vocabSize } = withCheckpoint(folder, ({ spec }) => spec)
      mkdirSync(join(folder, 'medusa'))
      const matrix = (rows: number): FloatTensor => ({ data: new Float32Array(rows * hidden), shape: [rows, hidden] })
      const tensors = { 'res.0.weight': matrix(hidden), 'heads.0.weight': matrix(vocabSize) }
      writeSafetensors(headPath(folder, 'medusa'), tensors)
    })
    after(() => rmSync(folder, { recursive: true }))

    it('an EAGLE head that was asked for is refused, naming its file', () =>
      assert.rejects(
        open(['eagle'], { model: { path: folder, weights: 'f32' } }),
        isError('unimplemented', headPath(folder, 'eagle'), 'want grouped-query attention, got latent attention'),
      ))

    it('`auto` drafts with what fits, and tells once of what does not', async () => {
      const sources = await open(['auto'], { model: { path: folder, weights: 'f32' } })
      assert.deepEqual(sources.names, ['prompt-lookup', 'suffix', 'ngram', 'medusa', 'ahead'])
      assert.ok(sources.hidden > 0)
      assert.deepEqual(
        unfit.map(({ code }) => code),
        ['unimplemented'],
      )
      sources.dispose()
    })
  })
})

function withCheckpoint<T>(folder: string, use: (checkpoint: Checkpoint) => T): T {
  const checkpoint = openCheckpoint(folder)
  try {
    return use(checkpoint)
  } finally {
    checkpoint.close()
  }
}
