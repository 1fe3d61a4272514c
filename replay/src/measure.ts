// One call from its schedule to its end: what came, when, and how it failed.
//
// Invariants
//   M1  It ends, whatever the endpoint does: at its own end, at the first time limit that runs out, or at the abort.
//   M2  Times are of one monotonic clock, in milliseconds from the run's start.

import type { AnswerEvent, AnswerStats, PreparedCall } from './clients/client.js'
import { createChunkList, type ChunkList, type OutputChunks } from './chunk-list.js'
import type { ReplayClock } from './clock.js'
import { RequestFailure } from './errors.js'
import type { Dispatch } from './run-plan.js'

export interface TimeLimits {
  readonly firstByteMs: number // from the send to the endpoint's first sign
  readonly chunkMs: number // between two signs
  readonly requestMs: number // in all
}

export interface AnswerChoice {
  text: string // '' where output is not kept
  tokenIds: number[] | undefined // undefined where the endpoint does not tell them; empty where output is not kept
  readonly chunks: OutputChunks
  finishReason: string | undefined
  stats: AnswerStats | undefined
}

export interface Answer {
  readonly dispatch: Dispatch
  readonly id: string
  readonly ackMs: number | undefined
  readonly endMs: number
  readonly choices: readonly AnswerChoice[]
  readonly promptTokens: number | undefined
  readonly cachedTokens: number | undefined
  readonly completionTokens: number | undefined // as the endpoint counts, of all choices
  readonly fingerprint: string | undefined
  readonly failure: RequestFailure | undefined // of kind `cancelled` where the run was interrupted
}

export interface MeasureOptions {
  readonly clock: ReplayClock
  readonly startMs: number // the run's start, on the monotonic clock
  readonly limits: TimeLimits
  readonly signal: AbortSignal
  readonly keepsOutput: boolean // texts and ids of answers: a check compares them, figures only count them
}

interface GrowingChoice extends AnswerChoice {
  readonly chunks: ChunkList
}

interface Progress {
  ackMs: number | undefined
  readonly choices: GrowingChoice[]
  promptTokens: number | undefined
  cachedTokens: number | undefined
  completionTokens: number | undefined
  fingerprint: string | undefined
}

/** Never rejects. */
export async function measureCall(
  { call, id, dispatch }: { readonly call: PreparedCall; readonly id: string; readonly dispatch: Dispatch },
  options: MeasureOptions,
): Promise<Answer> {
  const { clock, startMs, keepsOutput } = options
  const now = (): number => clock.monotonicMs() - startMs
  const progress: Progress = {
    ackMs: undefined,
    choices: [],
    promptTokens: undefined,
    cachedTokens: undefined,
    completionTokens: undefined,
    fingerprint: undefined,
  }
  const watch = watchTime(options)
  let failure: RequestFailure | undefined
  const events = call(watch.signal)[Symbol.asyncIterator]()
  try {
    for (;;) {
      const step = await Promise.race([events.next(), watch.ranOut])
      if (step.done === true) break
      watch.sign()
      progress.ackMs ??= now()
      take(progress, step.value, { atMs: now(), keepsOutput })
    }
  } catch (error) {
    failure = watch.failure() ?? RequestFailure.from(error)
    events.return?.().catch(() => undefined) // it was told by the signal; nobody waits for it
  } finally {
    watch.stop()
  }
  return { ...progress, dispatch, id, endMs: now(), failure }
}

interface Taking {
  readonly atMs: number
  readonly keepsOutput: boolean
}

function take(progress: Progress, event: AnswerEvent, { atMs, keepsOutput }: Taking): void {
  switch (event.type) {
    case 'accepted':
      progress.promptTokens ??= event.promptTokens
      progress.cachedTokens ??= event.cachedTokens
      return
    case 'fingerprint':
      progress.fingerprint ??= event.fingerprint
      return
    case 'output': {
      const choice = choiceAt(progress.choices, event.choice)
      if (keepsOutput) choice.text += event.text
      if (event.tokenIds !== undefined) choice.tokenIds ??= []
      if (keepsOutput) choice.tokenIds?.push(...(event.tokenIds ?? []))
      choice.chunks.push({ atMs, numTokens: event.tokenIds?.length })
      return
    }
    case 'finished': {
      const choice = choiceAt(progress.choices, event.choice)
      choice.finishReason = event.reason
      choice.stats = event.stats
      return
    }
    case 'usage':
      progress.promptTokens = event.promptTokens ?? progress.promptTokens
      progress.cachedTokens = event.cachedTokens ?? progress.cachedTokens
      progress.completionTokens = event.completionTokens ?? progress.completionTokens
  }
}

function choiceAt(choices: GrowingChoice[], index: number): GrowingChoice {
  while (choices.length <= index)
    choices.push({
      text: '',
      tokenIds: undefined,
      chunks: createChunkList(),
      finishReason: undefined,
      stats: undefined,
    })
  const choice = choices[index]
  if (choice === undefined) throw new RequestFailure('bad_chunk', `want a choice's index, found ${index}`)
  return choice
}

/** One timer for all limits: it looks when the next of them would run out, and comes back if that moved. */
function watchTime({ clock, limits, signal }: MeasureOptions) {
  const { firstByteMs, chunkMs, requestMs } = limits
  const controller = new AbortController()
  const beganMs = clock.monotonicMs()
  let signMs: number | undefined
  let failure: RequestFailure | undefined
  let cancelTimer = (): void => undefined
  let reject: (failure: RequestFailure) => void = () => undefined
  const ranOut = new Promise<never>((_, fail) => {
    reject = fail
  })
  ranOut.catch(() => undefined) // who waits for it is told anyway

  const end = (reason: RequestFailure): void => {
    failure ??= reason
    cancelTimer()
    reject(failure)
    controller.abort(failure)
  }
  const abort = (): void => end(new RequestFailure('cancelled', 'the replay was interrupted', { code: 499 }))
  const look = (): void => {
    const now = clock.monotonicMs()
    const wholeMs = beganMs + requestMs
    const partMs = signMs === undefined ? beganMs + firstByteMs : signMs + chunkMs
    if (now >= wholeMs)
      return end(new RequestFailure('request_timeout', `want the whole answer within ${requestMs} ms`))
    if (now >= partMs) {
      return end(
        signMs === undefined
          ? new RequestFailure('first_byte_timeout', `want an answer to begin within ${firstByteMs} ms`)
          : new RequestFailure('chunk_timeout', `want the stream to go on within ${chunkMs} ms`),
      )
    }
    cancelTimer = clock.after(Math.ceil(Math.min(wholeMs, partMs) - now), look)
  }
  if (signal.aborted) abort()
  else {
    signal.addEventListener('abort', abort, { once: true })
    look()
  }

  return {
    signal: controller.signal,
    ranOut,
    failure: () => failure,
    sign: (): void => {
      const isFirst = signMs === undefined
      signMs = clock.monotonicMs()
      if (!isFirst) return // the timer comes back by itself
      cancelTimer()
      look()
    },
    stop: (): void => {
      cancelTimer()
      signal.removeEventListener('abort', abort)
    },
  }
}
