// Text of byte tokens: what the reference makes of a whole run (`tokenizers`: decoders/byte_fallback.rs), and when it comes.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { Decoder } from '../../../lib/model/tokenization/published.js'
import { textStreams } from '../../../lib/model/tokenization/token-text.js'

const byteToken = (byte: number): string => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`
const bytesOf = (text: string): readonly string[] => [...Buffer.from(text)].map(byteToken)

const fallback: Decoder = { type: 'ByteFallback' }
const fuse: Decoder = { type: 'Fuse' }
const spaces: Decoder = { type: 'Replace', pattern: { text: '▁', regex: undefined }, content: ' ' }
const strip: Decoder = { type: 'Strip', content: ' ', start: 1, stop: 0 }
const metaspace: Decoder = { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always' }

/** The runs of byte tokens as pieces: text, or U+FFFD for each byte. */
function reference(pieces: readonly string[]): readonly string[] {
  const decoded: string[] = []
  let run: number[] = []
  const settle = (): void => {
    const text = Buffer.from(run).toString()
    const isValid = Buffer.from(text).equals(Buffer.from(run))
    if (run.length > 0) decoded.push(...(isValid ? [text] : run.map(() => '\ufffd')))
    run = []
  }
  for (const piece of pieces) {
    const digits = /^<0x([0-9A-F]{2})>$/.exec(piece)?.[1]
    if (digits !== undefined) {
      run.push(Number.parseInt(digits, 16))
      continue
    }
    settle()
    decoded.push(piece)
  }
  settle()
  return decoded
}

const spaced = (pieces: readonly string[]): readonly string[] => pieces.map((piece) => piece.replaceAll('▁', ' '))

const chains: readonly [string, readonly Decoder[], (pieces: readonly string[]) => string][] = [
  ['Fuse', [fallback, fuse], (pieces) => reference(pieces).join('')],
  [
    'Replace, Fuse and Strip',
    [spaces, fallback, fuse, strip],
    (pieces) => reference(spaced(pieces)).join('').replace(/^ /, ''),
  ],
  [
    'Metaspace',
    [fallback, metaspace],
    (pieces) =>
      reference(pieces)
        .map((piece, i) => piece.replaceAll('▁', i === 0 ? '' : ' '))
        .join(''),
  ],
]

const streamed = (decoders: readonly Decoder[], pieces: readonly string[]): readonly string[] => {
  const stream = textStreams(decoders)()
  return [...pieces.map((piece) => stream.push(piece)), stream.flush()]
}

const part = fc.oneof(fc.constantFrom('▁', '▁the', 'a', ' ', '\ufffd', '<0x4>', '<0xGG>'), fc.nat(255).map(byteToken))
const text = fc.string({ unit: 'binary', maxLength: 4 }).map(bytesOf) // whole characters
const cut = fc.tuple(text, fc.nat(9)).map(([bytes, length]) => bytes.slice(0, length))
const pieces = fc
  .array(
    fc.oneof(
      part.map((piece) => [piece]),
      text,
      cut,
    ),
    { maxLength: 12 },
  )
  .map((parts) => parts.flat())

describe('byte tokens', () => {
  for (const [title, decoders, wanted] of chains) {
    it(`before ${title} are the reference’s text, as they come (TT1, TT2)`, () => {
      fc.assert(
        fc.property(pieces, (all) => assert.equal(streamed(decoders, all).join(''), wanted(all))),
        { numRuns: 1000 },
      )
    })
  }

  it('are text as soon as their run has ended', () => {
    assert.deepEqual(streamed([fallback, fuse], [...bytesOf('€'), 'a', ...bytesOf('é')]), [
      '',
      '',
      '',
      '€a',
      '',
      '',
      'é',
    ])
  })

  it('are text at once where their run is bad', () => {
    const bad = [...bytesOf('a€').slice(0, 3), ...bytesOf('b€')]
    assert.deepEqual(streamed([fallback, fuse], bad), [
      '',
      '',
      '',
      '\ufffd'.repeat(4),
      ...Array<string>(3).fill('\ufffd'),
      '',
    ])
  })

  it('are text character by character where their run is long, and hold no more than a part of it', () => {
    const long = '日本語🙂'.repeat(1000)
    let come = 0
    const stream = textStreams([fallback, fuse])()
    const texts = bytesOf(long).map((piece, i) => {
      const one = stream.push(piece)
      come += Buffer.byteLength(one)
      assert.ok(i + 1 - come < 260, `${i + 1 - come} bytes held`)
      return one
    })
    assert.equal(texts.join(''), long)
    assert.ok(texts.slice(300).every((one) => one.length <= 2))
  })

  it('that are bad late in a long run spoil themselves alone', () => {
    const long = '語'.repeat(100)
    const late = [...bytesOf(long), byteToken(0xff), ...bytesOf('é'), byteToken(0xe2)]
    assert.equal(streamed([fallback, fuse], late).join(''), `${long}\ufffdé\ufffd`)
  })
})
