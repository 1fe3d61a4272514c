// How bodies lie in frames of version 2: those of the messages that every step sends are lists, a field's name being its
// place; the others are maps, as in version 1. Tensors in a list are lists themselves: dtype as a number, data, shape.
//
// Invariants
//   Y1  Within a version a layout grows at its end alone, by optional fields: what a reader does not know lies beyond what
//       it reads, what a writer does not know is absent. Numbers of kinds and dtypes are never given twice.
//   Y2  Reading never throws: what has not a layout's form becomes absent, and the kind's schema refuses it by its place.

import type { Body, Message, MessageKind } from './messages.js'
import type { WireDtype, WireTensor } from './tensor.js'

interface Part {
  readonly pack: (value: unknown) => unknown
  readonly unpack: (raw: unknown) => unknown
}

const KIND_NUMBERS: Readonly<Record<MessageKind, number>> = {
  'attention.step': 1,
  'attention.sampled': 2,
  'sequence.cancel': 3,
  'expert.compute': 4,
  'expert.output': 5,
  'expert.cancel': 6,
  'expert.place': 7,
  'expert.placed': 8,
  'worker.ping': 9,
  'draft.propose': 10,
  'draft.trees': 11,
  'draft.forget': 12,
  'router.logits': 13,
  'logits.page': 14,
  'request.follow': 15,
  'request.events': 16,
  'request.cancel': 17,
  'request.cancelled': 18,
  'cluster.status': 19,
  'cluster.state': 20,
  'cluster.scale': 21,
  'cluster.scaled': 22,
  'worker.heartbeat': 23,
  'actor.stopped': 24,
  'request.failed': 25,
  'request.done': 26,
}

const DTYPES: readonly WireDtype[] = ['f32', 'i32', 'q16']

const asIs: Part = { pack: (value) => value, unpack: (raw) => raw }

const tensor: Part = {
  pack: (value) => {
    const { dtype, shape, data } = value as WireTensor // of a message, whose type says so
    return [DTYPES.indexOf(dtype), data, ...shape]
  },
  unpack: (raw) => {
    if (!Array.isArray(raw)) return undefined
    const [dtype, data] = raw as readonly unknown[]
    return { dtype: typeof dtype === 'number' ? DTYPES[dtype] : undefined, shape: raw.slice(2), data }
  },
}

const listOf = (part: Part): Part => ({
  pack: (value) => (value as readonly unknown[]).map(part.pack), // of a message, whose type says so
  unpack: (raw) => (Array.isArray(raw) ? raw.map(part.unpack) : undefined),
})

/** The order of the fields is that of their places. */
function listed<T>(parts: { readonly [K in keyof T]-?: Part }): Part {
  const fields = Object.entries<Part>(parts)
  return {
    pack: (value) => {
      const record = value as Readonly<Record<string, unknown>> // of a message, whose type says so
      const list: unknown[] = []
      for (let i = 0; i < fields.length; i++) {
        const [name, part] = fields[i]!
        const field = record[name]
        if (field === undefined) continue // absent at the end, nil before
        while (list.length < i) list.push(null)
        list.push(part.pack(field))
      }
      return list
    },
    unpack: (raw) => {
      if (!Array.isArray(raw)) return undefined
      const record: Record<string, unknown> = {}
      for (let i = 0; i < fields.length && i < raw.length; i++) {
        const [name, part] = fields[i]!
        const field: unknown = raw[i]
        if (field !== null && field !== undefined) record[name] = part.unpack(field)
      }
      return record
    },
  }
}

type Entry<K extends 'attention.step' | 'attention.sampled' | 'draft.propose' | 'draft.trees'> =
  Body<K>['entries'][number]

const LAYOUTS: { readonly [K in MessageKind]?: Part } = {
  'attention.step': listed<Body<'attention.step'>>({
    step: asIs,
    tableEpoch: asIs,
    replicas: asIs,
    entries: listOf(
      listed<Entry<'attention.step'>>({
        sequence: asIs,
        epoch: asIs,
        base: asIs,
        accepted: tensor,
        tokens: tensor,
        parents: tensor,
        sampled: tensor,
        numHidden: asIs,
        typical: asIs,
        start: asIs,
      }),
    ),
    release: asIs,
    withLogits: asIs,
    owner: asIs,
    wantsLayerTimes: asIs,
    wantsExpertRows: asIs,
    wantsRoutes: asIs,
  }),
  'attention.sampled': listed<Body<'attention.sampled'>>({
    step: asIs,
    entries: listOf(
      listed<Entry<'attention.sampled'>>({
        sequence: asIs,
        epoch: asIs,
        tokens: tensor,
        logprobs: asIs,
        hidden: tensor,
        typical: tensor,
        routes: tensor,
        error: asIs,
      }),
    ),
    expertCalls: asIs,
    computeMs: asIs,
    expertWaitMs: asIs,
    attentionMs: asIs,
    expertComputeMs: asIs,
    headMs: asIs,
    distinctExperts: asIs,
    slow: asIs,
    logits: tensor,
    expertRows: tensor,
    layerTimes: tensor,
  }),
  'expert.compute': listed<Body<'expert.compute'>>({
    step: asIs,
    layer: asIs,
    hidden: tensor,
    experts: tensor,
    counts: tensor,
    rows: tensor,
    weights: tensor,
  }),
  'expert.output': listed<Body<'expert.output'>>({ step: asIs, layer: asIs, partials: tensor, computeMs: asIs }),
  'draft.propose': listed<Body<'draft.propose'>>({
    step: asIs,
    maxNodes: asIs,
    tokensPerMs: asIs,
    price: asIs,
    entries: listOf(
      listed<Entry<'draft.propose'>>({ sequence: asIs, from: asIs, tokens: tensor, start: asIs, hidden: asIs }),
    ),
  }),
  'draft.trees': listed<Body<'draft.trees'>>({
    step: asIs,
    sources: asIs,
    computeMs: asIs,
    entries: listOf(
      listed<Entry<'draft.trees'>>({
        sequence: asIs,
        resend: asIs,
        tokens: tensor,
        parents: tensor,
        values: tensor,
        sources: tensor,
      }),
    ),
  }),
}

const KINDS: ReadonlyMap<unknown, string> = new Map(
  Object.entries(KIND_NUMBERS).map(([kind, number]) => [number, kind]),
)

export const numberOfKind = (kind: MessageKind): number => KIND_NUMBERS[kind]

/** The kind of a number, or undefined. */
export const kindOfNumber = (number: unknown): string | undefined => KINDS.get(number)

/** A message without its kind. */
export function packBody(message: Message): unknown {
  const layout = LAYOUTS[message.kind]
  if (layout !== undefined) return layout.pack(message)
  const body: Record<string, unknown> = { ...message }
  delete body.kind
  return body
}

export const unpackBody = (kind: MessageKind, raw: unknown): unknown => (LAYOUTS[kind] ?? asIs).unpack(raw)
