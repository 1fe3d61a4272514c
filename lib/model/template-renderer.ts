// Renders chat templates in a process of their own, which is started with the first one and kept.
//
// Invariants
//   TR1  Every render ends in a text or one typed error within its deadline, whatever the template does with this chat
//        and those before it.
//   TR2  The process never outlives this one, and never keeps it alive.
//   TR3  A render whose process is killed by others is done again by the next process, once.

import { fork, type ChildProcess, type ForkOptions } from 'node:child_process'
import type { Clock } from '../actor/actor.js'
import { createTurns } from '../actor/turns.js'
import { ClusterError } from '../errors.js'
import { builtFile } from '../package-files.js'

export interface TemplateJob {
  readonly source: string
  readonly values: Readonly<Record<string, unknown>>
  readonly nowMs: number
  readonly timeoutMs: number
  readonly maxCharacters: number
}

/** What the process says first. */
export interface TemplateReady {
  readonly isReady: true
}

export type TemplateAnswer =
  { readonly text: string } | { readonly problem: 'timeout' | 'length' | 'refusal'; readonly message: string }

/** What of a clock a render needs; `now` is for templates that ask for the date. */
export type RenderClock = Pick<Clock, 'now' | 'monotonicMs' | 'after'>

export interface TemplateRenderer {
  /** Starts the process, so that the first render need not wait for it. */
  warm(): void
  render(values: TemplateJob['values'], clock: RenderClock, signal?: AbortSignal): Promise<string>
  /** Ends the process; renders that are on their way fail, and later ones too. */
  close(): void
}

const MAX_PROMPT_CHARACTERS = 4 * 1024 * 1024
const RENDER_MS = 1000
const START_MS = 10_000 // on a busy machine a process takes its time
const MAX_WAITING = 256
const MAX_WAIT_MS = 5000 // behind chats that take long
const MEMORY_MB = 64

const KILLED: ReadonlySet<string> = new Set(['SIGKILL', 'SIGTERM', 'SIGHUP']) // by others

const EXEC_ARGV = [`--max-old-space-size=${MEMORY_MB}`, '--max-semi-space-size=8']

interface Child {
  readonly process: ChildProcess
  isReady: boolean
}

/** `path` names the model in errors. */
export function createTemplateRenderer(source: string, path: string): TemplateRenderer {
  let child: Child | undefined
  let isClosed = false
  const turns = createTurns({
    what: 'chats to be rendered',
    reason: 'TEMPLATES_BUSY',
    maxWaiting: MAX_WAITING,
    maxWaitMs: MAX_WAIT_MS,
  })

  const failed = (message: string, reason: string): ClusterError =>
    new ClusterError('internal', `${path}: chat template: ${message}`, { details: { reason } })

  const noProcess = (cause: unknown): ClusterError => {
    const why = cause instanceof Error ? cause.message : String(cause)
    return new ClusterError('unavailable', `chat template: no process for it: ${why}`, {
      cause,
      details: { reason: 'TEMPLATE_PROCESS' },
    })
  }

  const stop = (ended: Child | undefined): void => {
    ended?.process.kill('SIGKILL')
    if (child === ended) child = undefined
  }

  const start = (): Child => {
    const options: ForkOptions = { execArgv: EXEC_ARGV, env: {}, stdio: ['ignore', 'ignore', 'ignore', 'ipc'] }
    const started: Child = { process: fork(builtFile('lib/model/template-process.js'), [], options), isReady: false }
    started.process
      .once('message', () => (started.isReady = true))
      .on('error', () => stop(started))
      .once('exit', () => stop(started))
      .unref()
    started.process.channel?.unref()
    return started
  }

  const running = (): Child => {
    try {
      return (child ??= start())
    } catch (error) {
      throw noProcess(error)
    }
  }

  /** Undefined where the process was taken away meanwhile. */
  const ask = (job: TemplateJob, clock: RenderClock): Promise<TemplateAnswer | undefined> => {
    const asked = running()
    return new Promise((resolve, reject) => {
      const settle = (act: () => void): void => {
        cancelTimer()
        asked.process.off('message', onMessage).off('exit', onExit).off('error', onError)
        act()
      }
      const onMessage = (message: TemplateAnswer | TemplateReady): void => {
        if (!('isReady' in message)) settle(() => resolve(message))
      }
      const onExit = (code: number | null, signal: string | null): void => {
        const how = signal ?? `code ${code}`
        settle(() => {
          if (isClosed) resolve(undefined)
          else if (!asked.isReady) reject(noProcess(`it ended as it started (${how})`))
          else if (!wasAsked || KILLED.has(how)) resolve(undefined)
          else reject(failed(`its process ended (${how}): it may take ${MEMORY_MB} MB of memory`, 'TEMPLATE_MEMORY'))
        })
      }
      const onError = (error: Error): void => {
        stop(asked)
        settle(() => reject(noProcess(error)))
      }
      const onLate = (): void => {
        stop(asked)
        const late = asked.isReady
          ? failed('its process does not answer', 'TEMPLATE_TIMEOUT')
          : noProcess(`it did not start within ${START_MS / 1000} s`)
        settle(() => reject(late))
      }
      // The script cuts itself off first; this is for one that does not even come to that.
      const cancelTimer = clock.after(2 * RENDER_MS + (asked.isReady ? 0 : START_MS), onLate)
      asked.process.on('message', onMessage).once('exit', onExit).once('error', onError)
      const wasAsked = asked.process.connected
      if (wasAsked) asked.process.send(job, () => undefined) // where it does not get there, the process ends
    })
  }

  const render = async (values: TemplateJob['values'], clock: RenderClock): Promise<string> => {
    const limits = { timeoutMs: RENDER_MS, maxCharacters: MAX_PROMPT_CHARACTERS }
    for (let numLost = 0; numLost < 2; numLost++) {
      if (isClosed) throw new ClusterError('unavailable', 'chat template: the model was closed')
      const answer = await ask({ source, values, nowMs: clock.now(), ...limits }, clock)
      if (answer !== undefined) return textOf(answer)
    }
    throw noProcess('it was killed')
  }

  const textOf = (answer: TemplateAnswer): string => {
    if ('text' in answer) return answer.text
    if (answer.problem === 'timeout') throw failed(answer.message, 'TEMPLATE_TIMEOUT')
    const what = answer.problem === 'length' ? answer.message : `the chat template refuses them: ${answer.message}`
    throw new ClusterError('invalid_argument', `messages: ${what}`, {
      details: { reason: 'INVALID_ARGUMENT', field: 'messages' },
    })
  }

  return {
    warm: () => {
      try {
        if (!isClosed) running()
      } catch {
        // the first chat tries again, and says what is wrong
      }
    },
    render: (values, clock, signal) => turns.take({ size: 1, clock, signal }, () => render(values, clock)),
    close: () => {
      isClosed = true
      stop(child)
    },
  }
}
