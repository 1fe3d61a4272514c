// A client's calls: through the SDK, as a user makes them. What came of each is kept for the checks.

import { randomHex } from '../../lib/actor/random-id.js'
import { BanyanClient } from '../../sdk/src/client.js'
import { BanyanError } from '../../sdk/src/errors.js'
import type { GenerateRequest, Logprob } from '../../sdk/src/types.js'
import { connectTo, type Door, type Wire } from './door.js'
import type { EventLog } from './event-log.js'
import type { Machine } from './machine.js'

export interface CallPlan {
  readonly request: GenerateRequest
  readonly index: number // of the request among those whose answers are known
  readonly atMs: number
  readonly requestId: string | undefined
  readonly deadlineMs: number | undefined
  readonly leaveAfter: number | undefined // events, then the client leaves
}

export interface ChoiceSoFar {
  readonly tokens: number[]
  readonly logprobs: Logprob[]
  text: string
  numFinished: number
  finishReason: string | undefined
}

export interface CallOutcome {
  readonly plan: CallPlan
  readonly client: string
  readonly choices: Map<number, ChoiceSoFar>
  readonly startedMs: number
  endedMs: number | undefined
  hasLeft: boolean
  error: BanyanError | undefined
  /** Of a kind that a client never sees. */
  crash: unknown
}

export interface Caller {
  readonly client: Machine
  readonly wire: Wire
  readonly doors: () => readonly (Door | undefined)[]
  readonly log: EventLog
}

/** Makes the call from its own machine and follows it to its end. */
export function makeCall(caller: Caller, plan: CallPlan): CallOutcome {
  const { client, wire, log } = caller
  const outcome: CallOutcome = {
    plan,
    client: client.id,
    choices: new Map(),
    startedMs: wire.timeline.nowMs,
    endedMs: undefined,
    hasLeft: false,
    error: undefined,
    crash: undefined,
  }
  client.run(() => {
    void follow(caller, outcome)
      .catch((error: unknown) => {
        if (error instanceof BanyanError) outcome.error = error
        else outcome.crash = error
      })
      .finally(() => {
        outcome.endedMs = wire.timeline.nowMs
        const how = outcome.error === undefined ? 'ended' : `failed: ${outcome.error.code}: ${outcome.error.message}`
        log.note(wire.timeline.nowMs, `${client.id} ${how}`)
      })
  })
  return outcome
}

async function follow({ client, wire, doors }: Caller, outcome: CallOutcome): Promise<void> {
  const { request, requestId, deadlineMs, leaveAfter } = outcome.plan
  const sdk = new BanyanClient(
    { address: 'simulated' },
    {
      connection: connectTo(client, wire, doors),
      clock: { ...client.clock, random: client.random, newId: () => randomHex(client.random, 32) },
    },
  )
  let numEvents = 0
  const asked = { ...request, ...(requestId !== undefined && { requestId }) }
  for await (const event of sdk.generate(asked, deadlineMs === undefined ? {} : { deadlineMs })) {
    if (event.type !== 'accepted') {
      const choice = outcome.choices.get(event.choice) ?? newChoice()
      outcome.choices.set(event.choice, choice)
      if (event.type === 'finished') {
        choice.numFinished += 1
        choice.finishReason = event.finishReason
      } else {
        choice.tokens.push(...event.tokenIds)
        choice.logprobs.push(...event.logprobs)
        choice.text += event.text
      }
    }
    numEvents += 1
    if (leaveAfter !== undefined && numEvents >= leaveAfter) {
      outcome.hasLeft = true
      return
    }
  }
}

const newChoice = (): ChoiceSoFar => ({ tokens: [], logprobs: [], text: '', numFinished: 0, finishReason: undefined })
