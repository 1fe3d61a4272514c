// What must be true after every simulation, whatever went wrong in it.
//
//   I1    Every token, its text and log-probability is the one of the quiet run; nothing is missing, doubled or out of order.
//   I2    Every call ends, once: in its whole answer, or in one typed error that something explains.
//   Leak  Timers, subscriptions, requests under way: all are what they were before anything was asked; and what is asked
//         afterwards is answered as ever, whatever memory was left behind.
//   View  Every router sees exactly the processes that live, all ready, and its table gives every shard its replicas.

import type { Code } from '../../sdk/src/errors.js'
import type { CallOutcome, ChoiceSoFar } from './calls.js'
import type { Place } from './cluster.js'
import { isUp } from './faults.js'
import { ROLES } from './services.js'
import type { Outcome } from './simulate.js'

/** A whole answer of the quiet run, by choice. */
export type Answer = ReadonlyMap<number, Pick<ChoiceSoFar, 'tokens' | 'logprobs' | 'text' | 'finishReason'>>

/** What is wrong, in words; nothing where all is well. */
export function check(outcome: Outcome, answers: readonly Answer[]): string[] {
  if (!outcome.isReady) return [`the cluster did not become ready: ${describeFailures(outcome)}`]
  return [
    ...outcome.calls.flatMap((call) =>
      checkCall(outcome, call, answers[call.plan.index]!).map(
        (what) => `${call.client} (request ${call.plan.index}): ${what}`,
      ),
    ),
    ...outcome.cluster.places.flatMap((place) => checkPlace(outcome, place).map((what) => `${place.id}: ${what}`)),
  ]
}

const describeFailures = ({ cluster }: Outcome): string =>
  cluster.places.flatMap(({ id, failure }) => (failure === undefined ? [] : [`${id}: ${describe(failure)}`])).join('; ')

function checkCall(outcome: Outcome, call: CallOutcome, answer: Answer): string[] {
  const wrong: string[] = []
  if (call.crash !== undefined) wrong.push(`the client crashed: ${describe(call.crash)}`)
  if (call.endedMs === undefined) wrong.push('it never ended')
  const isWhole = call.endedMs !== undefined && call.error === undefined && call.crash === undefined && !call.hasLeft
  for (const [choice, known] of answer) {
    const got = call.choices.get(choice)
    if (got === undefined) {
      if (isWhole) wrong.push(`choice ${choice} is missing`)
      continue
    }
    const isDone = isWhole || got.numFinished > 0
    const wanted = isDone ? known.tokens : known.tokens.slice(0, got.tokens.length)
    if (!isSame(got.tokens, wanted))
      wrong.push(`choice ${choice}: want ${wanted.join(' ')}, got ${got.tokens.join(' ')}`)
    if (isDone ? got.text !== known.text : !known.text.startsWith(got.text))
      wrong.push(`choice ${choice}: want text ${known.text}, got ${got.text}`)
    const wantedLogprobs = known.logprobs.slice(0, got.logprobs.length)
    if (JSON.stringify(got.logprobs) !== JSON.stringify(wantedLogprobs)) wrong.push(`choice ${choice}: other logprobs`)
    if (isDone && got.logprobs.length !== known.logprobs.length) wrong.push(`choice ${choice}: logprobs are missing`)
    if (isDone && got.numFinished !== 1) wrong.push(`choice ${choice}: finished ${got.numFinished} times`)
    if (isDone && got.finishReason !== known.finishReason)
      wrong.push(`choice ${choice}: want ${known.finishReason}, finished by ${got.finishReason}`)
  }
  if (call.error !== undefined && !excused(outcome, call).has(call.error.code))
    wrong.push(`nothing explains ${call.error.code} (${call.error.reason}): ${call.error.message}`)
  return wrong
}

const isSame = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((value, i) => value === b[i])

const describe = (error: unknown): string => (error instanceof Error ? (error.stack ?? error.message) : String(error))

/** The codes that something which happened explains. */
function excused({ struck, plan, calls }: Outcome, call: CallOutcome): ReadonlySet<Code> {
  const codes = new Set<Code>()
  const { requestId } = call.plan
  const sharers = calls.filter(({ plan: other }) => requestId !== undefined && other.requestId === requestId)
  const deadlines = [call, ...sharers].map((one) => one.startedMs + (one.plan.deadlineMs ?? Infinity))
  if (deadlines.some((dueMs) => (call.endedMs ?? 0) >= dueMs - 2)) codes.add('deadline_exceeded')
  // After its router's death a deadline is what the journal has: a time of a wall clock.
  const ofRouters = struck.filter(({ place }) => place === '' || place.startsWith('router')).map(({ kind }) => kind)
  if (ofRouters.includes('clock-jump') && new Set(ofRouters).size > 1 && deadlines.some((dueMs) => dueMs < Infinity))
    codes.add('deadline_exceeded')
  const before = struck.filter(({ atMs }) => atMs < (call.endedMs ?? Infinity))
  // Of a router, or of its way to the records.
  const isOfRouter = before.some(({ place }) => place === '' || place.startsWith('router'))
  // Before it was accepted nobody answers for it; and a client may see that the time left is too short to try again.
  if (isOfRouter && (call.choices.size === 0 || call.plan.deadlineMs !== undefined)) codes.add('unavailable')
  if (before.some(({ kind }) => kind === 'full-disk') && call.choices.size === 0) codes.add('resource_exhausted')
  const isWholeRoleGone = before.some(({ place, isLong }) => {
    if (isLong && place === '') return true
    const role = ROLES.find((one) => place.startsWith(one))
    return isLong && role !== undefined && plan.shape.counts[role] === 1
  })
  if (isWholeRoleGone) codes.add('unavailable')
  return codes
}

function checkPlace(outcome: Outcome, place: Place): string[] {
  const { machine, connection, router, role } = place
  if (!isUp(place)) return [`it does not run again: ${machine.state}, ${describe(place.failure)}`]
  const wrong: string[] = []
  const idle = outcome.idle.get(role)!
  if (machine.numTimers > idle.timers) wrong.push(`${machine.numTimers} timers, idle has ${idle.timers}`)
  if (connection.numSubscriptions > idle.subscriptions)
    wrong.push(`${connection.numSubscriptions} subscriptions, idle has ${idle.subscriptions}`)
  if (connection.numOpenRequests > 0) wrong.push(`${connection.numOpenRequests} requests under way`)
  if (router !== undefined) wrong.push(...checkRouter(outcome, router.engine.status(), router.engine.isReady()))
  return wrong
}

type Status = ReturnType<NonNullable<Place['router']>['engine']['status']>

function checkRouter({ cluster, plan }: Outcome, status: Status, isReady: boolean): string[] {
  const { requests, processes, placement } = status
  const wrong: string[] = []
  const { counts, replicas } = plan.shape
  const wanted = Math.min(replicas, counts['expert-worker'])
  if (placement.copies !== wanted) wrong.push(`want ${wanted} copies of every shard, some have ${placement.copies}`)
  if (!isReady) wrong.push('not ready')
  if (requests.running + requests.waiting > 0) wrong.push(`${requests.running} running, ${requests.waiting} waiting`)
  const seen = processes
    .filter(({ state }) => state !== 'dead')
    .map(({ id, state }) => `${id} ${state}`)
    .sort()
  const there = cluster.places.map(({ id }) => `${id} ready`).sort()
  if (seen.join() !== there.join()) wrong.push(`sees ${seen.join(', ')}`)
  return wrong
}
