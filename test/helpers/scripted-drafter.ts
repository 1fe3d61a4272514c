// A drafter that does as a test says, on the bus of a real cluster: it beats as drafters do, and what it answers may be any
// bytes at all.

import { randomUUID } from 'node:crypto'
import { startHeartbeat } from '../../lib/actor/heartbeat.js'
import { BanyanClient } from '../../sdk/src/index.js'
import { decodeFrame, encodeFrame } from '../../lib/wire/frame.js'
import type { Message, MessageOf } from '../../lib/wire/messages.js'
import { subjects } from '../../lib/wire/subjects.js'
import { readI32 } from '../../lib/wire/tensor.js'
import { eventually } from './eventually.js'
import type { TestCluster } from './test-cluster.js'

export interface Asked {
  readonly question: MessageOf<'draft.propose'>
  readonly roots: readonly number[] // of each entry the last committed token
}

export interface ScriptedDrafterOptions {
  readonly id: string
  readonly hidden?: number // width of the hidden states that it claims to read
  /** Answers with `reply`: once, later, twice or never. */
  readonly answer: (asked: Asked, reply: (bytes: Uint8Array) => void) => void
}

export interface ScriptedDrafter {
  stop(): Promise<void>
}

/** Resolves when the router has heard of it. */
export async function startScriptedDrafter(
  cluster: TestCluster,
  { id, hidden = 0, answer }: ScriptedDrafterOptions,
): Promise<ScriptedDrafter> {
  const roots = new Map<string, number>() // sequence → its last committed token
  const subscription = cluster.transport.subscribe(subjects.actor(cluster.name, id), ({ payload, reply }) => {
    const { message } = decodeFrame(payload)
    if (message.kind !== 'draft.propose' || reply === undefined) return
    for (const { sequence, tokens } of message.entries) {
      const last = readI32(tokens, 'tokens').at(-1)
      if (last !== undefined) roots.set(sequence, last)
    }
    answer({ question: message, roots: message.entries.map(({ sequence }) => roots.get(sequence) ?? 0) }, reply)
  })
  const incarnation = randomUUID()
  let state: 'ready' | 'stopped' = 'ready'
  const heartbeat = startHeartbeat(cluster.system, subjects.health(cluster.name), () => ({
    role: 'drafter',
    id,
    incarnation,
    pid: process.pid,
    state,
    deviceClass: 'none',
    fingerprint: '-',
    shards: [],
    capacity: { kvTokens: 0, maxRows: 0 },
    load: { queued: 0, hidden },
  }))
  await eventually(() => isKnown(cluster, id, 'ready'), `the router knows ${id}`)
  return {
    stop: async () => {
      state = 'stopped'
      heartbeat.beat()
      heartbeat.stop()
      subscription.unsubscribe()
      await eventually(() => isKnown(cluster, id, 'dead'), `the router knows that ${id} has stopped`)
    },
  }
}

async function isKnown(cluster: TestCluster, id: string, state: string): Promise<boolean> {
  const client = new BanyanClient({ address: cluster.router.grpc })
  try {
    const { processes } = await client.serverInfo()
    return processes.some((process) => process.id === id && process.state === state)
  } finally {
    client.close()
  }
}

/** A message as a drafter sends it; `epoch` is the envelope's, which nobody should mind. */
export const frameOf = (message: Message, epoch = 0): Uint8Array =>
  encodeFrame({
    version: 1,
    speaks: { lowest: 1, highest: 1 },
    envelope: { id: randomUUID(), from: 'scripted-drafter', timeoutMs: 0, epoch, traceparent: undefined },
    message,
  })
