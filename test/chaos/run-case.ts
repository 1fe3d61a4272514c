// Runs one case: quiet runs (a second one where what the fault adds is measured), the same requests with the fault, the
// same again afterwards, and everything that must hold.
//
// Invariants
//   H1  Every answer, during and after the fault, has the tokens of the expected one, once, and one end per choice.
//   H2  Afterwards the cluster is what was asked for, nothing runs, and its processes have the memory that they had.
//   H3  When the cluster has ended none of the processes that ever were is there.

import { createRandom } from '../helpers/random.js'
import { addedGapsMs, numDiffering, numDuplicated, numTokens, type Answer } from './answer.js'
import type { ChaosCase } from './cases.js'
import { startChaosCluster, type ChaosCluster } from './chaos-cluster.js'
import { openDoors, type Doors } from './doors.js'
import { countTokens, runLoad, type Ran } from './load.js'
import { readStat } from './process-table.js'
import type { ChaosRequest } from './requests.js'
import { createScene } from './scene.js'

const INJECT_TIMEOUT_MS = 240_000
const STRIKE_FROM = 0.05 // share of the tokens of a quiet run
const STRIKE_TO = 0.6
const MAX_GROWTH = 1.5
const GROWTH_SLACK_BYTES = 96 * 2 ** 20

export interface CaseResult {
  readonly name: string
  readonly seed: number
  readonly asked: number
  readonly failed: number
  readonly differing: number // tokens
  readonly duplicated: number // tokens
  readonly addedGapsMs: readonly number[] // per choice of the run with the fault, where they are measured
  readonly problems: readonly string[] // empty: all holds
  readonly notes: readonly string[] // what was done
}

export interface CaseOptions {
  readonly requests: readonly ChaosRequest[]
  readonly expected: readonly Answer[]
  readonly seed: number
  readonly measuresGaps: boolean
  readonly notify: (line: string) => void
}

export async function runCase(chaosCase: ChaosCase, options: CaseOptions): Promise<CaseResult> {
  const verdict = createVerdict(chaosCase, options)
  let cluster: ChaosCluster | undefined
  let doors: Doors | undefined
  try {
    cluster = await startChaosCluster(chaosCase.shape)
    doors = openDoors(cluster.addresses)
    await strikeIt({ chaosCase, options, cluster, doors, verdict })
  } catch (error) {
    verdict.problem(error instanceof Error ? error.message : String(error))
  } finally {
    doors?.close()
    const end = await cluster?.end()
    if (end !== undefined && end.orphans.length > 0) verdict.problem(`left behind: ${end.orphans.join(', ')}`)
    if (end !== undefined && end.outcome.code !== 0) {
      verdict.problem(`up ended with ${end.outcome.code}: ${end.outcome.stderr.trim().split('\n').at(-1) ?? ''}`)
    }
  }
  return verdict.result()
}

interface Run {
  readonly chaosCase: ChaosCase
  readonly options: CaseOptions
  readonly cluster: ChaosCluster
  readonly doors: Doors
  readonly verdict: Verdict
}

async function strikeIt({ chaosCase, options, cluster, doors, verdict }: Run): Promise<void> {
  const { requests, expected, seed } = options
  const random = createRandom(seed ^ hashOf(chaosCase.name)) // so that cases do not all strike at one token
  verdict.compare('cold', await runLoad({ doors, requests, runId: `${seed}-cold` })) // prompts are cached after it
  const quiet = options.measuresGaps ? await runLoad({ doors, requests, runId: `${seed}-quiet` }) : []
  verdict.compare('quiet', quiet)
  await cluster.settled()
  const memoryBefore = await memoryOf(cluster)

  const count = countTokens()
  const total = expected.reduce((sum, answer) => sum + numTokens(answer), 0)
  const strikeAt = Math.ceil(total * (STRIKE_FROM + random() * (STRIKE_TO - STRIKE_FROM)))
  const signal = AbortSignal.timeout(INJECT_TIMEOUT_MS)
  const scene = createScene({ cluster, random, signal, count, strikeAt, note: verdict.note })
  let isInjected = false
  const injecting = chaosCase
    .inject(scene)
    .catch((error: unknown) => verdict.problem(`the fault: ${String(error)}`))
    .finally(() => (isInjected = true))
  const isOver = (): boolean => isInjected || chaosCase.isEnd === true
  const struck = await runLoad({ doors, requests, runId: `${seed}-struck`, count, isOver })
  await injecting
  verdict.compare('struck', struck)
  verdict.gaps(quiet, struck)
  if (chaosCase.isEnd === true) return

  await cluster.settled()
  verdict.compare('afterwards', await runLoad({ doors, requests, runId: `${seed}-after` }))
  await cluster.settled()
  verdict.memory(memoryBefore, await memoryOf(cluster))
}

const hashOf = (text: string): number => [...text].reduce((hash, c) => (hash * 31 + c.charCodeAt(0)) | 0, 7)

/** Resident bytes by id. */
async function memoryOf(cluster: ChaosCluster): Promise<ReadonlyMap<string, number>> {
  return new Map((await cluster.rows()).map(({ id, pid }) => [id, readStat(pid)?.rssBytes ?? 0]))
}

type Verdict = ReturnType<typeof createVerdict>

function createVerdict({ name }: ChaosCase, { requests, expected, seed, notify }: CaseOptions) {
  const sums = { asked: 0, failed: 0, differing: 0, duplicated: 0 }
  const added: number[] = []
  const problems: string[] = []
  const notes: string[] = []
  const problem = (words: string): void => {
    problems.push(words)
    notify(`${name}: ${words}`)
  }

  const compareOne = (phase: string, { index, answer }: Ran): void => {
    const want = expected[index]
    if (want === undefined) return
    const differing = numDiffering(want, answer)
    sums.asked += 1
    sums.failed += Number(answer.problem !== undefined)
    sums.differing += differing
    sums.duplicated += numDuplicated(answer)
    if (answer.problem === undefined && differing + numDuplicated(answer) === 0) return
    const words = answer.problem ?? `${differing} tokens differ, ${numDuplicated(answer)} came twice`
    problem(`${phase}, request ${requests[index]?.name ?? index}: ${words}`)
  }

  return {
    problem,
    note: (words: string): void => {
      notes.push(words)
      notify(`${name}: ${words}`)
    },
    compare: (phase: string, ran: readonly Ran[]): void => ran.forEach((one) => compareOne(phase, one)),
    gaps: (quiet: readonly Ran[], struck: readonly Ran[]): void => {
      for (const { index, answer } of struck) {
        const before = quiet.find((one) => one.index === index)
        if (before !== undefined) added.push(...addedGapsMs(before.answer, answer))
      }
    },
    memory: (before: ReadonlyMap<string, number>, after: ReadonlyMap<string, number>): void => {
      for (const [id, bytes] of after) {
        const was = before.get(id) ?? bytes
        if (bytes <= was * MAX_GROWTH + GROWTH_SLACK_BYTES) continue
        problem(`${id} grew from ${megabytes(was)} to ${megabytes(bytes)} MB`)
      }
    },
    result: (): CaseResult => ({ name, seed, ...sums, addedGapsMs: added, problems, notes }),
  }
}

const megabytes = (bytes: number): string => (bytes / 2 ** 20).toFixed(0)
