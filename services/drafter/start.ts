// Starts a drafter: answers proposals at its address, reports health. It needs no checkpoint: copying reads tokens only.

import { startHeartbeat } from '../../lib/actor/heartbeat.js'
import type { DrafterOptions, RunningService, ServiceDeps } from '../../lib/config/service.js'
import type { Heartbeat } from '../../lib/wire/messages.js'
import { subjects } from '../../lib/wire/subjects.js'
import { drafterHandlers, type DraftLimits } from './draft-actor.js'
import { createPromptLookup } from './prompt-lookup.js'

const HEARTBEAT_MS = 500
const MAILBOX_CAPACITY = 256
const LIMITS: DraftLimits = { maxNodes: 256, maxSequences: 4096, maxTokens: 1_000_000 } // about 100 bytes per token

/** Resolves when the drafter answers. A restart of its actor begins with empty state and asks for the tokens again. */
export async function startDrafter(deps: ServiceDeps, _options: DrafterOptions): Promise<RunningService> {
  const { system, id } = deps
  const actor = system.spawn({
    address: id,
    mailboxCapacity: MAILBOX_CAPACITY,
    systemKinds: new Set(),
    create: () => drafterHandlers([createPromptLookup()], LIMITS),
  })
  let state: Heartbeat['state'] = 'ready'
  const heartbeat = startHeartbeat(
    system,
    subjects.health(deps.cluster),
    () => ({
      role: 'drafter',
      id,
      incarnation: deps.incarnation,
      pid: deps.pid,
      state,
      deviceClass: 'none',
      fingerprint: '-',
      shards: [],
      capacity: { kvTokens: 0, maxRows: 0 },
      load: { queued: actor.queued },
    }),
    HEARTBEAT_MS,
  )
  const stop = async (): Promise<void> => {
    state = 'stopped'
    heartbeat.beat()
    heartbeat.stop()
    await actor.stop()
  }
  return { address: id, drain: stop, stop } // nobody waits for a draft, so there is nothing to finish
}
