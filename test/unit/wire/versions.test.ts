// Both versions of the frame beside each other: all messages in both, damage in both, frames of versions to come.

import { decode as independentDecode, encode as independentEncode } from '@msgpack/msgpack'
import assert from 'node:assert/strict'
import fc, { type Arbitrary } from 'fast-check'
import { ClusterError } from '../../../lib/errors.js'
import { decodeFrame, encodeFrame, headerOf, type Envelope, type Frame } from '../../../lib/wire/frame.js'
import { kindOfNumber, numberOfKind } from '../../../lib/wire/layouts.js'
import { versionBetween } from '../../../lib/wire/versions.js'
import type { MessageKind } from '../../../lib/wire/messages.js'
import { arbitraryMessage, MESSAGE_KINDS } from '../../helpers/arbitrary-message.js'
import { readable, readGoldens } from '../../helpers/golden-frames.js'

const VERSIONS = [1, 2]

const envelope: Arbitrary<Envelope> = fc.record({
  id: fc.string({ maxLength: 40 }),
  from: fc.string({ maxLength: 40 }),
  timeoutMs: fc.nat(600_000),
  epoch: fc.nat(),
  traceparent: fc.option(fc.string({ maxLength: 60 }), { nil: undefined }),
})

const anyFrame: Arbitrary<Frame> = fc.record({
  version: fc.constantFrom(...VERSIONS),
  speaks: fc.constantFrom({ lowest: 1, highest: 1 }, { lowest: 1, highest: 2 }, { lowest: 2, highest: 3 }),
  envelope,
  message: fc.oneof(...MESSAGE_KINDS.map(arbitraryMessage)),
})

const golden = (version: number, kind: MessageKind): Buffer => Buffer.from(readGoldens(version)[kind]?.hex ?? '', 'hex')

/** Whether decoding ends as it may: with a frame, or with the one error. */
function survives(bytes: Uint8Array): void {
  try {
    decodeFrame(bytes)
  } catch (error) {
    assert.ok(error instanceof ClusterError && error.code === 'invalid_argument', String(error))
  }
}

for (const version of VERSIONS) {
  describe(`frames of version ${version}`, () => {
    for (const kind of MESSAGE_KINDS) {
      it(`carry ${kind} as it was sent, for any decoder`, () => {
        const frames = fc.record({ envelope, message: arbitraryMessage(kind) })
        const comesBack = (drawn: Pick<Frame, 'envelope' | 'message'>): void => {
          const frame: Frame = { ...drawn, version, speaks: { lowest: 1, highest: 2 } }
          const bytes = encodeFrame(frame)
          assert.deepEqual(readable(decodeFrame(bytes)), readable(frame))
          assert.doesNotThrow(() => independentDecode(bytes))
        }
        fc.assert(fc.property(frames, comesBack), { numRuns: 40 })
      })
    }

    it('that were sent once are read for ever, and written so still', () => {
      const goldens = readGoldens(version)
      assert.deepEqual(Object.keys(goldens).sort(), [...MESSAGE_KINDS].sort(), 'see test/fixtures/frames/README.md')
      for (const [kind, { hex, frame: said }] of Object.entries(goldens)) {
        const bytes = Buffer.from(hex, 'hex')
        const frame = decodeFrame(bytes)
        assert.deepEqual(readable(frame), said, kind)
        assert.equal(Buffer.from(encodeFrame(frame)).toString('hex'), hex, kind)
      }
    })

    it('truncated anywhere are refused', () => {
      for (const kind of ['attention.sampled', 'expert.compute', 'worker.heartbeat'] as const) {
        const bytes = golden(version, kind)
        for (let length = 0; length < bytes.length; length++) {
          assert.throws(
            () => decodeFrame(bytes.subarray(0, length)),
            (error) => error instanceof ClusterError && error.code === 'invalid_argument',
          )
        }
      }
    })
  })
}

describe('frames that are damaged', () => {
  it('at random, or are no frames at all, end in one typed error', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), survives), { numRuns: 2000 })
    const changes = fc.array(fc.tuple(fc.double({ min: 0, max: 0.999, noNaN: true }), fc.nat(255)), {
      minLength: 1,
      maxLength: 6,
    })
    const damage = (frame: Frame, where: readonly (readonly [number, number])[]): void => {
      const bytes = Uint8Array.from(encodeFrame(frame))
      for (const [at, value] of where) bytes[Math.floor(at * bytes.length)] = value
      survives(bytes)
    }
    fc.assert(fc.property(anyFrame, changes, damage), { numRuns: 1500 })
  })

  it('in their form, with other values in any place, end in one typed error', () => {
    const value = fc.oneof(fc.anything({ maxDepth: 1, withNullPrototype: false }).filter(isPacked), fc.uint8Array())
    const damage = (frame: Frame, at: number, other: unknown): void => {
      const places: (() => void)[] = []
      const raw = independentDecode(encodeFrame(frame))
      collectPlaces(raw, other, places)
      places[at % places.length]?.()
      survives(independentEncode(raw))
    }
    fc.assert(fc.property(anyFrame, fc.nat(), value, damage), { numRuns: 1500 })
  })

  it('name the place of what is wrong in lists, too', () => {
    const raw = independentDecode(golden(2, 'expert.compute')) as [...unknown[], unknown[]]
    const body = raw.at(-1) as unknown[]
    for (const [place, name] of [
      [1, 'layer'],
      [2, 'hidden'],
      [6, 'weights'],
    ] as const) {
      const changed = [...raw.slice(0, -1), body.with(place, 'x')]
      assert.throws(() => decodeFrame(independentEncode(changed)), new RegExp(`expert\\.compute: ${name}`))
    }
    assert.throws(() => decodeFrame(independentEncode(raw.with(3, 9999))), /unknown kind 9999/)
    assert.throws(() => decodeFrame(independentEncode(raw.with(-1, {}))), /expert\.compute: /)
  })
})

describe('frames of versions that are not read', () => {
  const heading = (raw: unknown): string => {
    try {
      decodeFrame(independentEncode(raw))
      return 'read'
    } catch (error) {
      const { code, message, details } = ClusterError.from(error)
      return `${code} ${details.reason}: ${message}`
    }
  }

  it('are refused with what is wanted and what their sender speaks, whatever else they have', () => {
    assert.equal(
      heading([3, 3, 4, { anything: true }]),
      'invalid_argument WIRE_VERSION: frame: want version 1 to 2, got 3; its sender speaks version 3 to 4',
    )
    assert.deepEqual(headerOf(independentEncode([3, 2, 3])), { version: 3, speaks: { lowest: 2, highest: 3 } })
  })

  it('are those above and below what a build reads', () => {
    const [first, second] = VERSIONS.map((version) => golden(version, 'expert.cancel'))
    const reads = (bytes: Uint8Array | undefined, version: number) => () =>
      decodeFrame(bytes ?? new Uint8Array(0), { lowest: version, highest: version })
    assert.doesNotThrow(reads(first, 1))
    assert.doesNotThrow(reads(second, 2))
    assert.throws(reads(first, 2), /want version 2, got 1; its sender speaks version 1$/)
    assert.throws(reads(second, 1), /want version 1, got 2; its sender speaks version 1 to 2$/)
  })

  it('do not exist: a version in the wrong form, or without the range of its sender', () => {
    for (const raw of [[1, 1, 1], { v: 2 }, [2], [2, 2], [2, 3, 2], [2, 0, 2], [2.5, 1, 2], { v: 1, vs: 3 }, 7, null]) {
      assert.match(heading(raw), /^invalid_argument undefined: frame: want /)
    }
  })
})

describe('what version 2 is for', () => {
  it('has a number for every kind, each once', () => {
    assert.equal(new Set(MESSAGE_KINDS.map(numberOfKind)).size, MESSAGE_KINDS.length)
    for (const kind of MESSAGE_KINDS) assert.equal(kindOfNumber(numberOfKind(kind)), kind)
  })

  it('takes fields that a later build adds at the end of a list', () => {
    const frame = decodeFrame(golden(2, 'expert.output'))
    const raw = independentDecode(encodeFrame(frame)) as unknown[]
    const later = [...raw.slice(0, -1), [...(raw.at(-1) as unknown[]), 'a field of tomorrow', 7], 'and of the envelope']
    assert.deepEqual(readable(decodeFrame(independentEncode(later))), readable(frame))
  })

  it('is fewer bytes, for every message', () => {
    const isSmaller = (frame: Frame): void => {
      const [one = 0, two = 0] = VERSIONS.map((version) => encodeFrame({ ...frame, version }).length)
      assert.ok(two < one, `${two} bytes, in version 1 ${one}`)
    }
    fc.assert(fc.property(anyFrame, isSmaller), { numRuns: 500 })
  })
})

describe('the version between two processes', () => {
  it('is the highest that both speak, else the nearest to what the other does', () => {
    const between = (own: [number, number], peer: [number, number]): number =>
      versionBetween({ lowest: own[0], highest: own[1] }, { lowest: peer[0], highest: peer[1] })
    assert.equal(between([1, 2], [1, 2]), 2)
    assert.equal(between([1, 2], [1, 1]), 1)
    assert.equal(between([1, 2], [2, 3]), 2)
    assert.equal(between([2, 3], [1, 2]), 2)
    assert.equal(between([1, 2], [3, 4]), 2)
    assert.equal(between([3, 4], [1, 2]), 3)
  })
})

/** Whether an independent encoder takes it. */
function isPacked(value: unknown): boolean {
  try {
    independentEncode(value)
    return true
  } catch {
    return false
  }
}

/** Every place in a decoded frame, each with how to put another value there. */
function collectPlaces(raw: unknown, other: unknown, places: (() => void)[]): void {
  if (typeof raw !== 'object' || raw === null || ArrayBuffer.isView(raw)) return
  const record = raw as Record<string, unknown> // lists and maps are both written by key
  for (const key of Object.keys(record)) {
    places.push(() => void (record[key] = other))
    collectPlaces(record[key], other, places)
  }
}
