import assert from 'node:assert/strict'
import {
  memoryQuantity,
  parseMemory,
  parseOperations,
  parseProcessors,
  parseRate,
  processorQuantity,
  showBytes,
  showMs,
} from '../../../lib/deploy/units.js'

describe('units', () => {
  it('reads memory, rates in bytes and in bits, processors and operations', () => {
    assert.deepEqual(['64Gi', '16G', '512Mi', '1.5GiB'].map(parseMemory), [64 * 2 ** 30, 16e9, 2 ** 29, 1.5 * 2 ** 30])
    assert.deepEqual(['200GB/s', '10Gb/s', '100Mbps'].map(parseRate), [200e9, 1.25e9, 12.5e6])
    assert.deepEqual(['16', '3.5', '500m'].map(parseProcessors), [16, 3.5, 0.5])
    assert.equal(parseOperations('20TFLOPS'), 20e12)
  })

  const bad: readonly (readonly [string, (text: string) => number, readonly string[]])[] = [
    ['memory', parseMemory, ['64', '64GB/s', 'Gi', '0Gi', '-1Gi', '64gi', '', ' 64Gi', '1e9Gi', '64Gb']],
    ['a rate', parseRate, ['200', '200G', '10Gb', '0GB/s', 'fast', '10 Gb/s', 'Infinity GB/s']],
    ['processors', parseProcessors, ['0', '0m', '-2', 'two', '1.5m', '', '2Gi', 'NaN']],
    ['operations', parseOperations, ['20', '20T', '20 TFLOPS']],
  ]
  for (const [what, parse, texts] of bad) {
    it(`says what ${what} looks like where it is none`, () => {
      for (const text of texts)
        assert.throws(() => parse(text), { code: 'invalid_argument', message: /^want .*found "/ }, text)
    })
  }

  it('writes quantities that Kubernetes reads, never less than is needed', () => {
    assert.deepEqual([1, 2 ** 20, 2 ** 20 + 1].map(memoryQuantity), ['1Mi', '1Mi', '2Mi'])
    assert.deepEqual([1, 0.35, 12].map(processorQuantity), ['1', '350m', '12'])
  })

  it('shows three digits', () => {
    assert.deepEqual([999, 1234, 18_812_345_678].map(showBytes), ['999 B', '1.23 kB', '18.8 GB'])
    assert.deepEqual([0, 0.0333, 1, 149.96].map(showMs), ['0.0 ms', '0.033 ms', '1.00 ms', '150 ms'])
  })
})
