// Runs seeds one after the other, against answers of a quiet cluster that are computed once.

import { rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { GenerateRequest } from '../../sdk/src/types.js'
import { createStreams } from './chance.js'
import { check, type Answer } from './checks.js'
import { createMeteredKernels, type MeteredKernels } from './metered-kernels.js'
import { drawPlan, type Scenario, type SimulatedModel } from './plan.js'
import { makeModelFolder } from './model-folder.js'
import { drawRequests } from './requests.js'
import type { Shape } from './services.js'
import { dispose, simulate, type Plan } from './simulate.js'

const FOLDER = join(tmpdir(), `banyan-simulation-${process.pid}`)
const MODEL = { model: join(FOLDER, 'model'), weightCache: join(FOLDER, 'weights') }
const NUM_REQUESTS = 64
const REQUESTS_SEED = 6

export interface SeedResult {
  readonly seed: number
  readonly shape: string
  readonly digest: string
  readonly wrong: readonly string[]
  readonly simulatedMs: number
  readonly numMessages: number
  readonly cpuMs: number
}

export interface Runner {
  readonly model: SimulatedModel
  readonly metered: MeteredKernels
  readonly requests: readonly GenerateRequest[]
  readonly answers: readonly Answer[]
  close(): void
  run(seed: number, scenario: Scenario, write?: (line: string) => void): Promise<SeedResult>
}

export async function openRunner(): Promise<Runner> {
  makeModelFolder(MODEL.model)
  const metered = createMeteredKernels()
  const requests = drawRequests(createStreams(REQUESTS_SEED)('requests'), NUM_REQUESTS)
  const answers = await quietAnswers(requests, metered)
  return {
    model: MODEL,
    metered,
    requests,
    answers,
    close: () => rmSync(FOLDER, { recursive: true, force: true }),
    run: async (seed, scenario, write) => {
      const started = process.cpuUsage()
      const plan = drawPlan(seed, MODEL, requests, scenario)
      const outcome = await simulate(plan, { metered, write })
      const wrong = check(outcome, answers)
      dispose(outcome)
      const { user, system } = process.cpuUsage(started)
      const { digest, simulatedMs, numMessages } = outcome
      return { seed, shape: describe(plan), digest, wrong, simulatedMs, numMessages, cpuMs: (user + system) / 1000 }
    },
  }
}

const QUIET: Shape = {
  form: 'nats',
  ...MODEL,
  counts: { router: 1, 'expert-worker': 1, attention: 1, drafter: 0 },
  replicas: 1,
  draft: false,
  kvTokens: 65_536,
  microBatches: 1,
  prefixCache: false,
  prefillChunk: 512,
  tokenBudget: 512,
  maxRunning: 1, // one after the other
  mixesBuilds: false,
}

/** What the smallest cluster answers when nothing goes wrong. */
async function quietAnswers(requests: readonly GenerateRequest[], metered: MeteredKernels): Promise<Answer[]> {
  const nobody = { atMs: 0, requestId: undefined, deadlineMs: undefined, leaveAfter: undefined }
  const calls = requests.map((request, index) => ({ ...nobody, request, index }))
  const outcome = await simulate(
    { seed: 0, shape: QUIET, calls, faults: [], lastCalls: [], maxPayloadBytes: 1e6 },
    { metered },
  )
  const answers = outcome.calls.map(({ choices }) => choices)
  const wrong = check(outcome, answers)
  dispose(outcome)
  if (wrong.length > 0) throw new Error(`the quiet run failed: ${wrong.join('; ')}`)
  return answers
}

function describe({ shape, calls, faults }: Plan): string {
  const { form, counts, replicas, draft, kvTokens, mixesBuilds } = shape
  const processes = Object.entries(counts).map(([role, count]) => `${count} ${role}`)
  return `${form}, ${processes.join(', ')}, ${replicas} replicas, drafts ${draft ? 'on' : 'off'}, ${mixesBuilds ? 'two builds, ' : ''}${kvTokens} KV tokens, ${calls.length} calls, faults: ${faults.map(({ kind }) => kind).join(' ') || 'none'}`
}
