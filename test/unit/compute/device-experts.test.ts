// Experts and LM head on a device against the CPU's kernels, and a row's bits in any company (I1).

import assert from 'node:assert/strict'
import { describeDevices, findGpus } from '../../../cli/commands/doctor-devices.js'
import { cpuExperts } from '../../../lib/compute/cpu-experts.js'
import { floatInput, type ExpertInput } from '../../../lib/compute/expert-call.js'
import type { ExpertEngine } from '../../../lib/compute/expert-engine.js'
import { findAdapters } from '../../../lib/compute/gpu/adapters.js'
import { chooseDevice } from '../../../lib/compute/gpu/choose-device.js'
import { deviceExperts } from '../../../lib/compute/gpu/device-experts.js'
import { createDeviceLmHead, packDeviceLmHead } from '../../../lib/compute/gpu/device-lm-head.js'
import { probeProvider, type DeviceProbe, type DeviceProbeOptions } from '../../../lib/compute/gpu/device-probe.js'
import { probeRows } from '../../../lib/compute/gpu/exact-rows.js'
import { sharedKernels } from '../../../lib/compute/kernels.js'
import type { LinearWeights } from '../../../lib/compute/linear-weights.js'
import { createLmHead, packLmHead } from '../../../lib/compute/lm-head.js'
import { probeValues, sameBits } from '../../../lib/compute/probe-values.js'
import type { WeightFormat } from '../../../lib/model/spec.js'
import { float16Refusal, needFloat16, TEST_DEVICES } from '../../helpers/test-devices.js'
import { inOneGo } from '../../../lib/compute/steps.js'

const FORMATS = ['f32', 'int8', 'int4'] as const
const ALL_FORMATS = [...FORMATS, 'f16'] as const // a device may lack the last
const [HIDDEN, INNER, ROWS, VOCAB] = [64, 96, 40, 250]
const TOLERANCE = 1e-3

const linear = (inputs: number, outputs: number, seed: number, bias = false): LinearWeights => ({
  weights: probeValues(inputs * outputs, seed, 0.4),
  inputs,
  outputs,
  bias: bias ? probeValues(outputs, seed + 50) : undefined,
})

const x = probeValues(ROWS * HIDDEN, 3, 4)

interface Call {
  readonly expert: number
  readonly rows: readonly number[]
}

/** Three experts; the second has biases, as no family has and the engine might. */
function experts<E>(
  engine: ExpertEngine<E>,
  format: WeightFormat,
): (calls: readonly Call[], input?: ExpertInput) => Float32Array {
  const placed = [0, 1, 2].map((id) => {
    const [gate, up, down] = [id * 3 + 1, id * 3 + 2, id * 3 + 3]
    const weights = {
      gate: linear(HIDDEN, INNER, gate, id === 1),
      up: linear(HIDDEN, INNER, up, id === 1),
      down: linear(INNER, HIDDEN, down, id === 1),
    }
    return engine.place(inOneGo(engine.pack(String(id), weights, format)), String(id))
  })
  return (calls, input = floatInput(x, HIDDEN)) => {
    const entriesOf = new Map<number, number[]>()
    let entry = 0
    for (const { rows } of calls) {
      for (const row of rows) entriesOf.set(row, [...(entriesOf.get(row) ?? []), entry++])
    }
    return engine.compute({
      input,
      hidden: HIDDEN,
      calls: calls.map(({ expert, rows }) => ({
        expert: placed[expert]!,
        rows,
        weights: rows.map((row) => 0.25 + ((row * 7 + expert) % 5) / 8),
      })),
      sums: [...entriesOf].sort(([a], [b]) => a - b).map(([, entries]) => entries),
    })
  }
}

const all: readonly number[] = Array.from({ length: ROWS }, (_, row) => row)
const worst = (a: Float32Array, b: Float32Array): number =>
  a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i]!)), a.length === b.length ? 0 : Infinity)

describe('which device', () => {
  it('auto is webgpu where a GPU is, never for one in software; cuda is its first device', () => {
    const discrete = { name: 'a', kind: 'discrete' } as const
    assert.equal(
      chooseDevice('auto', () => []),
      'cpu',
    )
    assert.equal(
      chooseDevice('auto', () => [{ name: 's', kind: 'software' }]),
      'cpu',
    )
    assert.equal(
      chooseDevice('auto', () => [{ name: 's', kind: 'software' }, discrete]),
      'webgpu',
    )
    assert.equal(
      chooseDevice('cpu', () => [discrete]),
      'cpu',
    )
    assert.deepEqual(
      ['cuda', 'cuda:2'].map((setting) => chooseDevice(setting)),
      ['cuda:0', 'cuda:2'],
    )
  })
})

describe('least exact rows', () => {
  const width = 8
  /** Each row plus something that depends on how many there are below a limit. */
  const withLimit = (limit: number) => (values: Float32Array, rows: number) =>
    values.map((value) => value + Math.max(0, limit - rows))

  it('is the least number from which on company changes nothing, or Infinity', () => {
    const least = [0, 4, 5, 100].map((limit) => probeRows(width, withLimit(limit)).leastRows)
    assert.deepEqual(least, [1, 4, 8, Infinity])
  })

  it('come with a digest, another one for another last bit', () => {
    const [one, same, other] = [0, 0, 2 ** -24].map((much) =>
      probeRows(width, (values) => values.map((value) => value * (1 + much))),
    )
    assert.deepEqual(one, same)
    assert.notEqual(one?.digest, other?.digest)
  })
})

for (const { device, provider, use } of TEST_DEVICES) {
  describe(`experts and LM head on ${device}`, function () {
    this.timeout(240_000) // a first run of each kernel compiles it, in software
    const kernels = sharedKernels(1)
    let probe: DeviceProbe

    before(function () {
      use(this)
      probe = probeProvider(provider, { formats: FORMATS, shapes: [{ hidden: HIDDEN, inner: INNER }] })
    })

    it('the driver in software calls itself so', function () {
      if (device !== 'webgpu') this.skip()
      assert.deepEqual(
        findAdapters().map(({ kind }) => kind),
        ['software'],
      )
    })

    it('the probe finds every kernel exact, and names the class the same way again', () => {
      assert.match(probe.deviceClass, /^(webgpu|cuda)-[0-9a-f]{12}-[0-9a-f]{8}$/)
      assert.deepEqual(
        probe.kernels.map(({ kernel, exactness }) => [kernel, exactness]),
        ['experts', 'LM head'].flatMap((kernel) => FORMATS.map((format) => [`${kernel} ${format}`, 'exact'])),
      )
      assert.deepEqual(probeProvider(provider, { formats: FORMATS, shapes: [{ hidden: HIDDEN, inner: INNER }] }), probe)
    })

    it('the class is that of the device, and of what it gave for the shapes of the model', () => {
      const attention = { hidden: HIDDEN, numHeads: 4, numKvHeads: 2, headDim: 32 } // doctor's
      const options: readonly DeviceProbeOptions[] = [
        { formats: ['int8'] },
        { formats: ['int8'], attentions: [attention] },
        { formats: ['int4'], attentions: [attention] },
        { formats: ['int8'], attentions: [{ ...attention, headDim: 16 }] },
        { formats: ['int8'], shapes: [{ hidden: HIDDEN, inner: INNER }] },
      ]
      const names = options.map((one) => probeProvider(provider, one).deviceClass)
      assert.equal(new Set(names).size, names.length, names.join(' '))
      const [ofDevice = ''] = names
      for (const name of [...names, probe.deviceClass]) assert.ok(name.startsWith(ofDevice), name)
    })

    it('doctor names the adapter, the class, and what is exact with how many rows', () => {
      const { gpus, devices, problems } = findGpus()
      if (gpus.length === 0) assert.deepEqual(problems, [])
      const found = devices.filter(({ device: name }) => name === provider)
      assert.equal(found.length, 1)
      assert.ok(found[0]?.deviceClass.startsWith(probe.deviceClass.slice(0, -8)), found[0]?.deviceClass)
      const lines = new Map(describeDevices(found).map(([what = '', says = '']) => [what.trim(), says]))
      assert.equal(lines.get('experts f32'), 'exact')
      for (const part of ['experts', 'attention']) {
        assert.match(lines.get(`${part} int8`) ?? '', /^exact, with \d+ rows or more/)
      }
    })

    it('float16 is exact, under a class of its own where shapes are asked for, or refused by name', () => {
      const refusal = float16Refusal(provider)
      const { adapters, devices, problems } = findGpus()
      // SwiftShader has none: did it compute, the weights would have been widened before they came there (C3).
      if (device === 'webgpu' && adapters.some(({ name }) => name.includes('SwiftShader'))) assert.ok(refusal)
      const lines = new Map(describeDevices(devices).map(([what = '', says = '']) => [what.trim(), says]))
      if (refusal === undefined) {
        const shapes = [{ hidden: HIDDEN, inner: INNER }]
        const { kernels, deviceClass } = probeProvider(provider, { formats: ['f16'], shapes })
        assert.ok(kernels.every(({ exactness }) => exactness === 'exact'))
        assert.notEqual(deviceClass, probeProvider(provider, { formats: ['f32'], shapes }).deviceClass)
        assert.match(lines.get('attention f16') ?? '', /^exact/)
      } else {
        assert.deepEqual([refusal.code, refusal.details.reason], ['unimplemented', 'NO_FLOAT16'])
        const wanted = `device ${provider}: want float16 (shader-f16), which it lacks; choose another --weights than f16`
        assert.equal(refusal.message, wanted)
        assert.equal(lines.get('f16'), `refused: ${wanted}`)
        assert.ok(!problems.some(({ problem }) => problem.includes('float16')))
      }
      assert.deepEqual(probeProvider(provider, { formats: FORMATS, shapes: [{ hidden: HIDDEN, inner: INNER }] }), probe)
    })

    for (const format of ALL_FORMATS) {
      it(`experts in ${format}: those of the CPU, and a row alone as in company`, function () {
        if (format === 'f16') needFloat16(provider, this)
        const engine = deviceExperts({ provider, hidden: HIDDEN, leastRows: probe.leastRows.experts })
        const device = experts(engine, format)
        const cpu = experts(cpuExperts(kernels, HIDDEN, format), format)
        const calls = [0, 1, 2].map((expert) => ({ expert, rows: all.filter((row) => (row + expert) % 3 !== 0) }))
        const company = device(calls)
        assert.ok(worst(company, cpu(calls)) < TOLERANCE)
        for (const row of [0, 7, 39]) {
          const alone = device(
            calls
              .map(({ expert, rows }) => ({ expert, rows: rows.filter((one) => one === row) }))
              .filter(({ rows }) => rows.length > 0),
          )
          assert.ok(sameBits(alone, company.slice(row * HIDDEN, (row + 1) * HIDDEN)), `row ${row}`)
        }
        assert.equal(device([]).length, 0)
        engine.dispose()
      })

      it(`LM head in ${format}: that of the CPU, and a row alone as in company`, function () {
        if (format === 'f16') needFloat16(provider, this)
        const weights = { norm: probeValues(HIDDEN, 21), head: linear(HIDDEN, VOCAB, 22) }
        const shape = { hidden: HIDDEN, vocabSize: VOCAB, epsilon: 1e-6 }
        const leastRows = probe.leastRows.head
        const device = createDeviceLmHead(packDeviceLmHead(weights, format), { ...shape, provider, leastRows })
        const cpu = createLmHead(kernels, inOneGo(packLmHead(weights, format)), shape)
        const rows = [3, 9, 17, 30, 31]
        const logits = device.run(x, rows)
        const wanted = cpu.run(x, rows).map((row) => row.slice())
        rows.forEach((row, i) => {
          assert.ok(worst(logits[i]!, wanted[i]!) < TOLERANCE)
          assert.ok(sameBits(device.run(x, [row])[0]!.slice(), logits[i]!.slice()), `row ${row}`)
        })
        assert.deepEqual(device.run(x, []), [])
        assert.ok(worst(device.norm(x.subarray(0, HIDDEN)), cpu.norm(x.subarray(0, HIDDEN))) < TOLERANCE)
        device.dispose()
        cpu.dispose()
      })
    }
  })
}

describe('graphs of weights in float16', () => {
  it('compute what the CPU’s kernels do, also where the engine runs them on the processor', () => {
    const kernels = sharedKernels(1)
    const engine = deviceExperts({ provider: 'cpu', hidden: HIDDEN, leastRows: 1 })
    const calls = [0, 1, 2].map((expert) => ({ expert, rows: all }))
    const [there, here] = [experts(engine, 'f16')(calls), experts(cpuExperts(kernels, HIDDEN, 'f16'), 'f16')(calls)]
    assert.ok(worst(there, here) < TOLERANCE)
    assert.ok(worst(there, experts(cpuExperts(kernels, HIDDEN, 'f32'), 'f32')(calls)) > 0)
    engine.dispose()
  })
})
