// Text of tokens, as they come: the tokenizer's decoder as a chain of steps, each of which takes a token's text and
// gives on what can no longer change.
//
// Invariants
//   TT1  What `push` and `flush` give together depends on the pieces alone, and is what decoding them at once gives.
//   TT2  A run of byte tokens is text only as a whole: one bad byte makes each of its bytes U+FFFD. So it is held until
//        it ends or is bad, but never more than MAX_HELD_BYTES and the rest of a character: of a longer run the
//        characters come as they are whole, and a bad byte is U+FFFD alone.

import { byteLevelBytes } from '../byte-level.js'
import { expressionOf } from './patterns.js'
import type { Decoder } from './published.js'

interface TextStreamOf<T> {
  push(item: T): string
  flush(): string
}

export type TextStream = TextStreamOf<string>

/** One step: `push` gives the pieces that are settled now, `flush` those that are left. */
interface Step {
  push(piece: string): readonly string[]
  flush(): readonly string[]
}

/** Makes streams; one per text. Without decoders, tokens stand apart. */
export function textStreams(decoders: readonly Decoder[] | undefined): () => TextStream {
  if (decoders === undefined) return () => chain([spaced()])
  return () => {
    let isFused = false // from here on there is one piece, which comes in parts
    return chain(
      decoders.map((decoder) => {
        const step = stepOf(decoder, isFused)
        isFused ||= decoder.type === 'Fuse' || decoder.type === 'ByteLevel'
        return step
      }),
    )
  }
}

function chain(steps: readonly Step[]): TextStream {
  const through = (pieces: readonly string[], from: number): readonly string[] =>
    steps.slice(from).reduce((settled, step) => settled.flatMap((piece) => step.push(piece)), pieces)
  return {
    push: (piece) => through([piece], 0).join(''),
    flush: () => steps.map((step, i) => through(step.flush(), i + 1).join('')).join(''),
  }
}

const eachAlone = (textOf: (piece: string) => string): Step => ({ push: (piece) => [textOf(piece)], flush: () => [] })

function stepOf(decoder: Decoder, isFused: boolean): Step {
  switch (decoder.type) {
    case 'ByteLevel':
      return byteLevel()
    case 'ByteFallback':
      return byteFallback()
    case 'Fuse':
      return eachAlone((piece) => piece)
    case 'Replace': {
      const expression = expressionOf(decoder.pattern)
      return eachAlone((piece) => piece.replace(expression, () => decoder.content))
    }
    case 'Strip':
      return isFused ? stripOnce(decoder) : eachAlone((piece) => stripBoth(piece, decoder))
    case 'Metaspace':
      return metaspace(decoder)
  }
}

function spaced(): Step {
  let isFirst = true
  return eachAlone((piece) => {
    const text = isFirst ? piece : ` ${piece}`
    isFirst = false
    return text
  })
}

function byteLevel(): Step {
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
  return {
    push: (piece) => [decoder.decode(byteLevelBytes(piece), { stream: true })],
    flush: () => [decoder.decode()],
  }
}

/** The byte that a token like `<0xE2>` stands for. */
export function fallbackByte(piece: string): number | undefined {
  const [, digits] = /^<0x([0-9A-Fa-f]{2})>$/.exec(piece) ?? []
  return digits === undefined ? undefined : Number.parseInt(digits, 16)
}

const MAX_HELD_BYTES = 256

function byteFallback(): Step {
  let run: TextStreamOf<number> | undefined
  const end = (): string[] => {
    const text = run?.flush() ?? ''
    run = undefined
    return text === '' ? [] : [text]
  }
  return {
    push: (piece) => {
      const byte = fallbackByte(piece)
      if (byte === undefined) return [...end(), piece]
      run ??= byteRun()
      const text = run.push(byte)
      return text === '' ? [] : [text]
    },
    flush: end,
  }
}

/** TT2 */
function byteRun(): TextStreamOf<number> {
  const options = { ignoreBOM: true }
  let decoder = new TextDecoder('utf-8', { ...options, fatal: true })
  let held = ''
  let numHeld = 0 // bytes
  let isBad = false

  const spoil = (): string => {
    isBad = true
    return '\ufffd'.repeat(numHeld)
  }
  return {
    push: (byte) => {
      if (isBad) return '\ufffd'
      const bytes = Uint8Array.of(byte)
      if (!decoder.fatal) return decoder.decode(bytes, { stream: true })
      numHeld += 1
      try {
        const text = decoder.decode(bytes, { stream: true })
        held += text
        if (numHeld < MAX_HELD_BYTES || text === '') return ''
      } catch {
        return spoil()
      }
      decoder = new TextDecoder('utf-8', options)
      return held
    },
    flush: () => {
      if (isBad) return ''
      if (!decoder.fatal) return decoder.decode()
      try {
        return held + decoder.decode()
      } catch {
        return spoil()
      }
    },
  }
}

type Strip = Extract<Decoder, { type: 'Strip' }>

function stripBoth(piece: string, { content, start, stop }: Strip): string {
  let first = 0
  while (first < start && piece[first] === content) first++
  let end = piece.length
  while (piece.length - end < stop && end > 0 && piece[end - 1] === content) end--
  return piece.slice(first, Math.max(first, end))
}

/** Strips the one piece that comes in parts: at its beginning now, at its end what is left when it ends. */
function stripOnce({ content, start, stop }: Strip): Step {
  let numStripped = 0
  let isBegun = false
  let held = ''
  return {
    push: (piece) => {
      let text = piece
      while (!isBegun && text !== '') {
        isBegun = numStripped === start || text[0] !== content
        if (isBegun) break
        numStripped += 1
        text = text.slice(1)
      }
      text = held + text
      let end = text.length
      while (text.length - end < stop && end > 0 && text[end - 1] === content) end--
      held = text.slice(end)
      return [text.slice(0, end)]
    },
    flush: () => [],
  }
}

function metaspace({ replacement, ...scheme }: Extract<Decoder, { type: 'Metaspace' }>): Step {
  const prepends = (scheme.prepend_scheme ?? (scheme.add_prefix_space === false ? 'never' : 'always')) !== 'never'
  let isFirst = true
  return eachAlone((piece) => {
    const text = piece.replaceAll(replacement, isFirst && prepends ? '' : ' ')
    isFirst = false
    return text
  })
}
