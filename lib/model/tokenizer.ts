// Text to ids and back, as the published tokenizer.json says: byte-level BPE and SentencePiece's BPE with byte fallback.
//
// Invariants
//   TK1  User text never becomes a control token: special tokens are read only where the caller asks (templates), and
//        there not where a mark stands in them.
//   TK2  `decode` equals the incremental detokenizer's concatenation, for any ids.
//   TK3  Steps of encoding are bounded work, as far as the file's own patterns are, and their ids those of one go.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { ClusterError } from '../errors.js'
import { byteLevelBytes } from './byte-level.js'
import { controlGuard } from './control-guard.js'
import { readJson } from './json-file.js'
import { shown } from './shown.js'
import { addedTokens, textOfAdded } from './tokenization/added-tokens.js'
import { bytePairs } from './tokenization/byte-pairs.js'
import { normaliserOf } from './tokenization/normalise.js'
import { parsePublished, type AddedToken, type Decoder, type PostProcessor } from './tokenization/published.js'
import { splitterOf } from './tokenization/split.js'
import { finish, type Steps } from './tokenization/steps.js'
import { fallbackByte, textStreams, type TextStream } from './tokenization/token-text.js'

export interface EncodeOptions {
  /** Special tokens are read out of the text, and none is put around it. */
  readonly parseSpecial?: boolean
  /** None is put around the text. */
  readonly isBare?: boolean
  /** A character that keeps what it stands in from being a token of its own, and is left out. */
  readonly mark?: string
}

export interface ModelTokenizer {
  encode(text: string, options?: EncodeOptions): number[]
  /** The same in steps, for those who have something else to do meanwhile. */
  encodeSteps(text: string, options?: EncodeOptions): Steps<number[]>
  /** Text of ids; special tokens have none. */
  decode(tokens: readonly number[]): string
  /** The same, as the tokens come: their pieces, in what the tokenizer makes of them. */
  textStream(): TextStream
  /** What goes into a text stream; undefined where a token has no text. */
  piece(token: number): string | undefined
  /** The token's own text, '' for bytes that are no whole character; special tokens by name. */
  tokenText(token: number): string
  tokenBytes(token: number): Uint8Array
  isSpecial(token: number): boolean
  /** Whether ordinary text may hold it: it is in the vocabulary, and neither an added token nor a special one. */
  isPlain(token: number): boolean
  /** The text with marks in what only a template may write; see `EncodeOptions`. */
  guard(text: string, mark: string): string
  /** Whether decoding is a concatenation of the tokens' bytes (byte-level BPE). */
  readonly isByteLevel: boolean
}

/** The folder's tokenizer, or undefined where it has none. */
export function createTokenizer(folder: string, vocabSize: number): ModelTokenizer | undefined {
  const files = readTokenizerFiles(folder)
  return files && tokenizerOf(files, vocabSize)
}

/** A tokenizer as published, wherever it was read. */
export interface TokenizerFiles {
  readonly path: string // for errors
  readonly json: Readonly<Record<string, unknown>> // as tokenizer.json says it
  readonly config: Readonly<Record<string, unknown>> // as tokenizer_config.json says it; empty without one
}

/** The folder's tokenizer files, or undefined where it has none. */
export function readTokenizerFiles(folder: string): TokenizerFiles | undefined {
  const path = join(folder, 'tokenizer.json')
  if (!existsSync(path)) return undefined
  const configPath = join(folder, 'tokenizer_config.json')
  return { path, json: readJson(path), config: existsSync(configPath) ? readJson(configPath) : {} }
}

/** Throws `invalid_argument` naming what is wrong in the files. */
export function tokenizerOf({ path, json, config }: TokenizerFiles, vocabSize: number): ModelTokenizer {
  const published = parsePublished(json, path)
  const model = bytePairs(published.model, path)
  const { vocabulary } = model
  const added = (published.added_tokens ?? []).filter(
    (token) => token.id < vocabSize || !isOtherModality(token, config),
  )
  const around = specialsAround(published.post_processor, path)
  checkIds([vocabulary.pieces.length - 1, ...added.map(({ id }) => id), ...around.before, ...around.after], {
    path,
    vocabSize,
  })
  const decoders = published.decoder ?? undefined
  const { normalise, split, streams } = inFile(path, () => {
    textStreams(decoders)() // its patterns are read when it begins
    return {
      normalise: normaliserOf(published.normalizer),
      split: splitterOf(published.pre_tokenizer),
      streams: textStreams(decoders),
    }
  })
  const sections = addedTokens(added, normalise)
  const addedText = new Map(added.map((token) => [token.id, textOfAdded(token, normalise)]))
  const specials = new Set(added.filter(({ special }) => special).map(({ id }) => id))
  const unknown = published.model.unk_token ?? undefined
  const notPlain = new Set([...addedText.keys(), ...around.before, ...around.after])
  const isByteLevel = decoders?.some(({ type }) => type === 'ByteLevel') === true
  const streamsAlone = textStreams((decoders ?? []).flatMap(asInside))

  const pieceOf = (token: number): string | undefined => addedText.get(token) ?? vocabulary.pieces[token]
  const piece = (token: number): string | undefined => (specials.has(token) ? undefined : pieceOf(token))

  /** The pieces that the model encodes, and the ids of the added tokens between them. */
  function* parts(text: string, { parseSpecial = false, mark }: EncodeOptions): Generator<number | string> {
    let isFirst = true
    for (const section of sections.split(text.replace(LONE_SURROGATES, '\ufffd'), parseSpecial)) {
      if ('id' in section) yield section.id
      else yield* split(mark === undefined ? section.text : section.text.replaceAll(mark, ''), isFirst)
      isFirst = false
    }
  }

  function* encodeSteps(text: string, options: EncodeOptions = {}): Steps<number[]> {
    const isBare = options.parseSpecial === true || options.isBare === true
    const { before, after } = isBare ? { before: [], after: [] } : around
    const ids = [...before]
    let work = 0 // characters since the last step
    for (const part of parts(text, options)) {
      if (typeof part === 'number') ids.push(part)
      else if (part.length > STEP) yield* model.encodeSteps(part, ids)
      else model.encode(part, ids)
      work += typeof part === 'number' ? 1 : part.length
      if (work < STEP) continue
      work = 0
      yield
    }
    ids.push(...after)
    return ids
  }

  const decode = (tokens: readonly number[]): string => {
    const stream = streams()
    const texts = tokens.map((token) => {
      const found = piece(token)
      return found === undefined ? '' : stream.push(found)
    })
    return texts.join('') + stream.flush()
  }

  const tokenBytes = (token: number): Uint8Array => {
    const found = pieceOf(token) ?? ''
    if (specials.has(token)) return Buffer.from(found)
    if (isByteLevel) return byteLevelBytes(found)
    const byte = fallbackByte(found)
    return byte === undefined ? Buffer.from(streamsAlone().push(found)) : Uint8Array.of(byte)
  }

  return {
    encode: (text, options) => finish(encodeSteps(text, options)),
    encodeSteps,
    decode,
    textStream: streams,
    piece,
    tokenText: (token) =>
      new TextDecoder('utf-8', { ignoreBOM: true }).decode(tokenBytes(token)).replaceAll('\ufffd', ''),
    tokenBytes,
    isSpecial: (token) => specials.has(token),
    isPlain: (token) => {
      const found = vocabulary.pieces[token]
      return found !== undefined && found !== unknown && !notPlain.has(token)
    },
    guard: controlGuard(added.filter(isControl).map(({ content }) => content)),
    isByteLevel,
  }
}

/** What is wrong with a part is said of the file. */
function inFile<T>(path: string, make: () => T): T {
  try {
    return make()
  } catch (error) {
    const { code, message } = ClusterError.from(error)
    throw new ClusterError(code, `${path}: ${message}`, { cause: error })
  }
}

const STEP = 4096 // characters
const LONE_SURROGATES = /\p{Cs}/gu

/** Special tokens, and those that are written like ones: some publishers mark the turns of a chat by such. */
const isControl = ({ special, content }: AddedToken): boolean => special || /^<[|｜].*[|｜]>$/su.test(content)

/** Text models share tokenizers with models that also see and hear: their rows are missing in the embedding. */
function isOtherModality({ content }: AddedToken, config: TokenizerFiles['config']): boolean {
  return [config.image_token, config.audio_token, config.video_token].includes(content)
}

function checkIds(ids: readonly number[], { path, vocabSize }: { path: string; vocabSize: number }): void {
  const highest = ids.reduce((most, id) => Math.max(most, id), 0)
  if (highest < vocabSize) return
  throw new ClusterError('invalid_argument', `${path}: token id ${highest}: the model's vocabulary has ${vocabSize}`)
}

interface Around {
  readonly before: readonly number[]
  readonly after: readonly number[]
}

/** The special tokens that are put around a text. */
function specialsAround(processors: readonly PostProcessor[], path: string): Around {
  const each = processors.map((processor) => specialsOf(processor, path))
  return each.reduce(
    (inner, outer) => ({
      before: [...outer.before, ...inner.before],
      after: [...inner.after, ...outer.after],
    }),
    { before: [], after: [] },
  )
}

function specialsOf(processor: PostProcessor, path: string): Around {
  if (processor.type === 'ByteLevel') return { before: [], after: [] }
  if (processor.type !== 'TemplateProcessing') return { before: [processor.cls[1]], after: [processor.sep[1]] }
  const { single, special_tokens: specials } = processor
  const place = single.findIndex((item) => 'Sequence' in item)
  const idsOf = (items: typeof single): number[] =>
    items.flatMap((item) => {
      if (!('SpecialToken' in item)) return []
      const { id } = item.SpecialToken
      const found = Object.hasOwn(specials, id) ? specials[id] : undefined
      if (found !== undefined) return found.ids
      const wanted = `want ${shown(id)} in special_tokens, got ${shown(Object.keys(specials))}`
      throw new ClusterError('invalid_argument', `${path}: post_processor: ${wanted}`)
    })
  return { before: idsOf(single.slice(0, place)), after: idsOf(single.slice(place + 1)) }
}

/** What a decoder makes of a token that is not the first one. */
function asInside(decoder: Decoder): Decoder[] {
  if (decoder.type === 'Metaspace') return [{ ...decoder, prepend_scheme: 'never' }]
  return decoder.type === 'Replace' ? [decoder] : []
}
