// Draws a simulation from a seed: the cluster's shape, the calls, the faults.

import { between, createStreams, integer, pick } from './chance.js'
import type { CallPlan } from './calls.js'
import { drawFaults, FAULT_KINDS, type FaultKind } from './faults.js'
import { FORMS, type Form, type Shape } from './services.js'
import type { GenerateRequest } from '../../sdk/src/types.js'
import type { Plan } from './simulate.js'

export interface Scenario {
  readonly name: string
  readonly forms: readonly Form[] // of clusters that it may befall
  readonly faults: Readonly<Record<Form, readonly FaultKind[]>>
}

export const SCENARIOS: readonly Scenario[] = [
  { name: 'all', forms: FORMS, faults: FAULT_KINDS },
  { name: 'quiet', forms: FORMS, faults: { nats: [], local: [] } },
  ...[...new Set([...FAULT_KINDS.nats, ...FAULT_KINDS.local])].map((kind) => ({
    name: kind,
    forms: FORMS.filter((form) => FAULT_KINDS[form].includes(kind)),
    faults: { nats: [kind], local: [kind] },
  })),
]

/** Throws where there is none of that name. */
export function scenarioNamed(name: string): Scenario {
  const found = SCENARIOS.find((scenario) => scenario.name === name)
  if (found !== undefined) return found
  throw new Error(`--scenario: want one of ${SCENARIOS.map((scenario) => scenario.name).join(', ')}, got ${name}`)
}

const LOAD_MS = 3_000
const LOCAL = 0.3 // of the clusters

export interface SimulatedModel {
  readonly model: string // folder
  readonly weightCache: string // folder for its packed weights
}

export function drawPlan(
  seed: number,
  model: SimulatedModel,
  requests: readonly GenerateRequest[],
  scenario: Scenario,
): Plan {
  const randomFor = createStreams(seed)
  const isNarrow = randomFor('payload')() < 0.2
  const form = drawForm(randomFor('form'), scenario)
  const kinds = scenario.faults[form]
  return {
    seed,
    shape: { ...drawShape(randomFor('shape'), model), form },
    calls: drawCalls(randomFor('calls'), requests),
    faults: kinds.length === 0 ? [] : drawFaults(randomFor('faults'), 0, LOAD_MS, kinds),
    lastCalls: drawLastCalls(randomFor('last calls'), requests),
    maxPayloadBytes: isNarrow ? 2_048 : 1_000_000, // narrow: many messages travel in chunks
  }
}

function drawForm(random: () => number, { forms }: Scenario): Form {
  const [first = 'nats', second = first] = forms
  return random() < LOCAL ? second : first
}

function drawShape(random: () => number, model: SimulatedModel): Omit<Shape, 'form'> {
  const experts = integer(random, 1, 4)
  return {
    ...model,
    counts: {
      router: pick(random, [1, 1, 2, 3]),
      'expert-worker': experts,
      attention: pick(random, [1, 1, 2, 3]),
      drafter: pick(random, [0, 1]),
    },
    replicas: experts > 1 ? pick(random, [1, 2, 2]) : 1,
    draft: random() < 0.6,
    kvTokens: pick(random, [480, 1_024, 4_096]),
    microBatches: pick(random, [1, 1, 2]),
    prefixCache: random() < 0.5,
    prefillChunk: pick(random, [7, 32, 256]),
    tokenBudget: pick(random, [48, 512]),
    maxRunning: pick(random, [4, 64]),
    mixesBuilds: random() < 0.5,
  }
}

/** One after the other, at each router in turn. */
function drawLastCalls(random: () => number, requests: readonly GenerateRequest[]): CallPlan[] {
  return Array.from({ length: 3 }, (_, i) => {
    const index = integer(random, 0, requests.length - 1)
    return {
      request: requests[index]!,
      index,
      atMs: 50 * i,
      requestId: undefined,
      deadlineMs: undefined,
      leaveAfter: undefined,
    }
  })
}

function drawCalls(random: () => number, requests: readonly GenerateRequest[]): CallPlan[] {
  const calls: CallPlan[] = []
  const count = integer(random, 3, 7)
  while (calls.length < count) {
    const index = integer(random, 0, requests.length - 1)
    const call: CallPlan = {
      request: requests[index]!,
      index,
      atMs: between(random, 0, LOAD_MS),
      requestId: random() < 0.5 ? `request-${calls.length}` : undefined,
      deadlineMs: random() < 0.1 ? between(random, 5, 2_000) : undefined,
      leaveAfter: random() < 0.15 ? integer(random, 1, 6) : undefined,
    }
    calls.push(call)
    // The same request again, under the same id, from another client.
    if (call.requestId !== undefined && random() < 0.2)
      calls.push({ ...call, atMs: call.atMs + between(random, 0, 300), deadlineMs: undefined, leaveAfter: undefined })
  }
  return calls
}
