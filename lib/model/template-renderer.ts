// Renders chat templates in a process of their own, which is started with the first one and kept.
//
// Invariants
//   TR1  Every render ends in a text or one typed error within its deadline, whatever the template does with this chat
//        and those before it.
//   TR2  The process never outlives this one, and never keeps it alive.

import { fork, type ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { ClusterError } from '../errors.js'

export interface TemplateJob {
  readonly source: string
  readonly values: Readonly<Record<string, unknown>>
  readonly nowMs: number
  readonly timeoutMs: number
  readonly maxCharacters: number
}

export type TemplateAnswer =
  { readonly text: string } | { readonly problem: 'timeout' | 'length' | 'refusal'; readonly message: string }

/** What of a clock a render needs. */
export interface RenderClock {
  now(): number // unix milliseconds, for templates that ask for the date
  monotonicMs(): number
  /** Returns a function that cancels the timer. */
  after(delayMs: number, run: () => void): () => void
}

export interface TemplateRenderer {
  /** Starts the process, so that the first render need not wait for it. */
  warm(): void
  render(values: TemplateJob['values'], clock: RenderClock): Promise<string>
  /** Ends the process; renders that are on their way fail, and later ones too. */
  close(): void
}

const MAX_PROMPT_CHARACTERS = 4 * 1024 * 1024
const RENDER_MS = 1000
const START_MS = 10_000 // on a busy machine a process takes its time
const MAX_WAITING = 256
const WAIT_MS = 5000 // behind chats that take long
const MEMORY_MB = 64

const SCRIPT = fileURLToPath(new URL('./template-process.js', import.meta.url))
const EXEC_ARGV = [`--max-old-space-size=${MEMORY_MB}`, '--max-semi-space-size=8']

/** `path` names the model in errors. */
export function createTemplateRenderer(source: string, path: string): TemplateRenderer {
  let child: ChildProcess | undefined
  let hasAnswered = false // the child
  let isClosed = false
  let last: Promise<unknown> = Promise.resolve() // one render at a time
  let numWaiting = 0

  const failed = (message: string, reason: string): ClusterError =>
    new ClusterError('failed_precondition', `${path}: chat template: ${message}`, { details: { reason } })

  const busy = (message: string): ClusterError =>
    new ClusterError('resource_exhausted', `chat template: ${message}; try again shortly`, {
      details: { reason: 'TEMPLATES_BUSY' },
    })

  const stop = (ended: ChildProcess | undefined): void => {
    ended?.kill('SIGKILL')
    if (child === ended) child = undefined
  }

  const start = (): ChildProcess => {
    const started = fork(SCRIPT, [], {
      execArgv: EXEC_ARGV,
      env: {},
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    })
    started.on('error', () => stop(started))
    started.once('exit', () => stop(started))
    started.unref()
    started.channel?.unref()
    hasAnswered = false
    return started
  }

  const ask = (job: TemplateJob, clock: RenderClock): Promise<TemplateAnswer> => {
    const asked = (child ??= start())
    return new Promise((resolve, reject) => {
      const settle = (act: () => void): void => {
        stopWaiting()
        asked.off('message', onMessage).off('exit', onExit).off('error', onError)
        act()
      }
      const onMessage = (answer: unknown): void => {
        hasAnswered = true
        settle(() => resolve(answer as TemplateAnswer)) // what the script sends
      }
      const onExit = (_: unknown, signal: unknown): void => {
        if (signal === 'SIGKILL' || signal === 'SIGTERM') return onError(new Error('it was killed'))
        settle(() => reject(failed(`its process ended: it may take ${MEMORY_MB} MB of memory`, 'TEMPLATE_MEMORY')))
      }
      const onError = (error: Error): void => {
        stop(asked)
        settle(() => reject(new ClusterError('unavailable', `chat template: no process for it: ${error.message}`)))
      }
      // The script cuts itself off first; this is for one that does not even come to that.
      const stopWaiting = clock.after(2 * RENDER_MS + (hasAnswered ? 0 : START_MS), () => {
        stop(asked)
        settle(() => reject(failed('its process does not answer', 'TEMPLATE_TIMEOUT')))
      })
      asked.on('message', onMessage).once('exit', onExit).once('error', onError)
      asked.send(job, (error) => void (error !== null && onError(error)))
    })
  }

  const render = async (values: TemplateJob['values'], clock: RenderClock, askedMs: number): Promise<string> => {
    if (isClosed) throw new ClusterError('unavailable', 'chat template: the model was closed')
    if (clock.monotonicMs() - askedMs > WAIT_MS) throw busy(`the chats before this one took ${WAIT_MS / 1000} s`)
    const limits = { timeoutMs: RENDER_MS, maxCharacters: MAX_PROMPT_CHARACTERS }
    const answer = await ask({ source, values, nowMs: clock.now(), ...limits }, clock)
    if ('text' in answer) return answer.text
    if (answer.problem === 'timeout') throw failed(answer.message, 'TEMPLATE_TIMEOUT')
    const what = answer.problem === 'length' ? answer.message : `the chat template refuses them: ${answer.message}`
    throw new ClusterError('invalid_argument', `messages: ${what}`, {
      details: { reason: 'INVALID_ARGUMENT', field: 'messages' },
    })
  }

  return {
    warm: () => {
      if (!isClosed) child ??= start()
    },
    render: async (values, clock) => {
      if (numWaiting === MAX_WAITING) throw busy(`${MAX_WAITING} chats wait to be rendered`)
      numWaiting += 1
      const askedMs = clock.monotonicMs()
      const turn = last.then(() => render(values, clock, askedMs)).finally(() => (numWaiting -= 1))
      last = turn.catch(() => undefined) // its own caller hears of it
      return turn
    },
    close: () => {
      isClosed = true
      stop(child)
    },
  }
}
