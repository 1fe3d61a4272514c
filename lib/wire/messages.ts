// Every message that crosses a process boundary: one closed union, checked where it enters (zod), trusted after.
// `docs/wire-protocol.md` is this file in prose. Kinds are `noun.verb`; replies are kinds of their own.

import * as z from 'zod'
import { sizesSchema, wantedSizesSchema } from './sizes.js'
import { isWireTensor, type WireTensor } from './tensor.js'

const tensor = z.custom<WireTensor>(isWireTensor, 'want a tensor: dtype f32 or i32, shape, data bytes')
const id = z.string().min(1).max(256)
const count = z.int().min(0)
const ms = z.number().min(0)
const shard = z.int().min(0).max(65535)
const placement = z.array(z.array(id).max(1024)).max(65536) // workers by shard

/** Sampling parameters on the wire; the seed is a decimal uint64 because not every decoder has 64-bit integers. */
export const samplingSchema = z.object({
  temperature: z.number(),
  topP: z.number(),
  topK: count,
  minP: z.number(),
  repetitionPenalty: z.number(),
  presencePenalty: z.number(),
  frequencyPenalty: z.number(),
  logitBias: z.array(z.tuple([count, z.number()])),
  minTokens: count,
  endTokenIds: z.array(count),
  seed: z.string().regex(/^\d{1,20}$/),
  logprobs: z.int().min(-1),
})

/** One sequence's part of a step: a chunk of prefill (a chain) or a tree whose node 0 is the last emitted token. */
const stepEntry = z.object({
  sequence: id,
  epoch: count, // rises by one per step of this sequence; a repeated epoch is a retry and commits nothing twice
  base: count, // committed tokens, after `accepted` of the previous step has been committed
  accepted: tensor, // i32: nodes of the previous step that were accepted, ascending
  tokens: tensor, // i32 [nodes]
  parents: tensor, // i32 [nodes], -1 for node 0, a parent before its children
  sampled: tensor, // i32: the nodes at which to sample, ascending
  numHidden: count.optional(), // return the last hidden states of so many rows, the last ones: drafters read them
  typical: z.object({ epsilon: z.number(), delta: z.number() }).optional(), // judge the nodes by typical acceptance too
  start: z
    .object({
      promptLength: count,
      choice: count,
      sampling: samplingSchema,
      prefix: z.object({ sequence: id, tokens: tensor }).optional(), // committed tokens to share with a sequence held there
    })
    .optional(), // with epoch 0
})

/** What a drafter must know of a sequence to guess as its sampler chooses, and whose texts it may learn from. */
const draftStart = z.object({
  promptLength: count,
  choice: count,
  sampling: samplingSchema,
  scope: z.string().max(256), // sequences of one scope may learn from each other; '': from nobody
})

const logprobs = z.object({
  token: count,
  logprob: z.number(),
  top: z.array(z.object({ token: count, logprob: z.number() })),
})

export const MESSAGE_SCHEMAS = {
  // router → attention worker
  'attention.step': z.object({
    step: id,
    owner: z.object({ router: id, incarnation: id }).optional(), // whose sequences these are: they go when it does
    tableEpoch: count,
    /** For each shard the expert workers that hold it: the first is this step's choice, the others stand by. */
    replicas: z.array(z.array(id)),
    entries: z.array(stepEntry).max(4096),
    release: z.array(id), // sequences whose KV may be dropped
    withLogits: z.boolean(), // return the logits of every row (for comparing with a reference)
    wantsLayerTimes: z.boolean().optional(),
    wantsExpertRows: z.boolean().optional(),
    wantsRoutes: z.boolean().optional(),
  }),
  'attention.sampled': z.object({
    step: id,
    entries: z.array(
      z.object({
        sequence: id,
        epoch: count,
        tokens: tensor, // i32, one per `sampled` node; -1 where no walk along the samples comes by
        logprobs: z.array(logprobs), // empty, or one per node on that walk, in its order
        hidden: tensor.optional(), // f32 [numHidden, hidden] after the final norm, where the step asked for it
        typical: tensor.optional(), // i32 [nodes]: 1 where typical acceptance takes the node after its parent
        routes: tensor.optional(), // i32 [nodes, layers, top-k]: experts by gate, ascending; -1 where there is no gate
        error: z.object({ code: z.string(), message: z.string() }).optional(), // this sequence only, e.g. an epoch gap
      }),
    ),
    logits: tensor.optional(), // f32 [rows of all entries, vocab]
    slow: z.array(id).optional(), // expert workers that were late or silent and are asked last for now
    expertCalls: count,
    distinctExperts: count.optional(), // (layer, expert) pairs that the step touched, for the router's cost model
    computeMs: ms, // of the step on this worker; below what of it went where, as far as the worker tells
    attentionMs: ms.optional(), // embedding, attention, gates
    expertWaitMs: ms, // from a layer's dispatch until its sums were there, unless attention worked meanwhile
    expertComputeMs: ms.optional(), // of that: the slowest worker's compute in each layer
    headMs: ms.optional(), // LM head and sampling
    expertRows: tensor.optional(), // i32 [layers, experts]: rows of each since the worker started, modulo 2^32
    layerTimes: tensor.optional(), // f32 [layers, 4]: start since the step's, attention, expert wait, expert compute
  }),
  /** To the worker's control address: stop working for these sequences and free their KV. */
  'sequence.cancel': z.object({ sequences: z.array(id), step: id.optional() }),

  // attention worker → expert worker
  'expert.compute': z.object({
    step: id,
    layer: count,
    hidden: tensor, // f32 or q16 [rows, hidden], the union of the rows that any expert here needs
    experts: tensor, // i32 [calls], ascending expert id
    counts: tensor, // i32 [calls], rows per call
    rows: tensor, // i32 [sum of counts], indices into hidden, ascending within a call
    weights: tensor, // f32 [sum of counts]
  }),
  /** Per touched shard, ascending, and per row of it, ascending: the weighted sum over the shard's experts. */
  'expert.output': z.object({ step: id, layer: count, partials: tensor, computeMs: z.number() }),
  'expert.cancel': z.object({ step: id }),

  // router → expert worker (placement address: loading takes long, and control must answer meanwhile)
  /** What one router wants the worker to hold; the worker holds what any router wants. */
  'expert.place': z.object({ router: id, tableEpoch: count, fingerprint: id, shards: z.array(shard) }),
  'expert.placed': z.object({ tableEpoch: count, shards: z.array(shard) }),

  /** To any process's ping address: is anybody there? */
  'worker.ping': z.object({ asker: z.string(), question: id.optional() }), // a message that the answer is waited for

  // router → drafter
  'draft.propose': z.object({
    step: id,
    maxNodes: count, // per sequence, root included
    tokensPerMs: z.number().min(0), // what the cluster yields now: drafting on must promise more; 0: not known
    price: z.number().min(0), // the least value at which a node pays now
    entries: z.array(
      z.object({
        sequence: id,
        from: count,
        tokens: tensor, // i32: committed tokens from index `from`
        start: draftStart.optional(), // with `from` 0
        hidden: z.object({ from: count, rows: tensor }).optional(), // f32 [rows, hidden]: of the tokens from that index
      }),
    ),
  }),
  'draft.trees': z.object({
    step: id,
    sources: z.array(z.string()).max(30), // their names: bit i of a node's `sources` is the i-th
    computeMs: z.number(),
    entries: z.array(
      z.object({
        sequence: id,
        resend: z.boolean(), // the drafter does not hold the tokens before `from`: send them all next time
        tokens: tensor, // i32 [nodes], node 0 is the last committed token
        parents: tensor, // i32 [nodes]
        values: tensor, // f32 [nodes], estimated probability that the path to the node is accepted
        sources: tensor, // i32 [nodes]: which sources proposed the node
      }),
    ),
  }),
  /** Sequences that ended: their text may serve others of their scope, their state goes. */
  'draft.forget': z.object({ sequences: z.array(id) }),

  // anyone → a router
  'router.logits': z.object({ tokens: tensor }), // the prompt once through the cluster
  'logits.page': z.object({ logits: tensor }), // f32 [tokens, vocab]
  /** router → router: what a request has yielded beyond the tokens held; answered at once. */
  'request.follow': z.object({ id, tenant: z.string(), incarnation: id, held: z.array(count).max(64) }),
  /** `events`: JSON of the router's events; `closed`: no more will come. */
  'request.events': z.object({
    events: z.string(),
    closed: z.boolean(),
    error: z.object({ code: z.string(), message: z.string(), details: z.record(z.string(), z.string()) }).optional(),
  }),
  /** router → router: end a request that runs there. */
  'request.cancel': z.object({ id, tenant: z.string(), incarnation: id }),
  'request.cancelled': z.object({ wasRunning: z.boolean() }),
  'cluster.status': z.object({ asker: z.string() }),
  'cluster.state': z.object({ json: z.string() }),

  // router → `up`
  /** Run so many processes of each role; answered at once, with what is asked for from then on. */
  'cluster.scale': wantedSizesSchema,
  'cluster.scaled': sizesSchema,

  // every process, on the health subject
  'worker.heartbeat': z.object({
    role: z.enum(['router', 'attention', 'expert-worker', 'drafter']),
    id,
    incarnation: id, // new at every start of the process
    pid: count,
    state: z.enum(['starting', 'ready', 'draining', 'stopped']),
    deviceClass: z.string(),
    fingerprint: z.string(), // of checkpoint and weight format
    shards: z.array(shard),
    capacity: z.object({ kvTokens: count, maxRows: count }),
    load: z.record(z.string(), z.number()),
    node: z.string().max(256).optional(), // the machine, where the process was told its name
    /** An expert worker: by shard, what it has computed since it started; one for an expert touched, a part of that per row. */
    work: z.array(z.number().min(0)).max(4096).optional(),
    metrics: z.string().max(512).optional(), // URL of its series, for Prometheus
    /** A router: traces of requests that were slow or failed; who holds spans of them exports them. */
    kept: z
      .array(z.string().regex(/^[0-9a-f]{32}$/))
      .max(256)
      .optional(),
    /** A router's wish, of which all routers take the latest. */
    replicas: z.object({ count: sizesSchema.shape.replicas, version: count }).optional(),
    /** What routers agreed on, of which the highest version holds: who holds each shard, and the device classes that serve. */
    plan: z.object({ version: count, main: placement, extra: placement }).optional(),
    classes: z.object({ version: count, attention: z.string().optional(), experts: z.string().optional() }).optional(),
  }),

  // an actor system, on the obituaries subject
  'actor.stopped': z.object({ address: id }),

  // replies that any request may get
  'request.failed': z.object({ code: z.string(), message: z.string(), details: z.record(z.string(), z.string()) }),
  'request.done': z.object({ handled: z.literal(true) }),
} as const

export type MessageKind = keyof typeof MESSAGE_SCHEMAS
export type Body<K extends MessageKind> = z.infer<(typeof MESSAGE_SCHEMAS)[K]>
export type Message = { [K in MessageKind]: { readonly kind: K } & Body<K> }[MessageKind]
export type MessageOf<K extends MessageKind> = Extract<Message, { kind: K }>
export type StepEntry = Body<'attention.step'>['entries'][number]
export type Heartbeat = MessageOf<'worker.heartbeat'>
export type Role = Heartbeat['role']
