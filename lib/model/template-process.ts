// Where chat templates run: a process of its own, with little memory, no environment and nobody's secrets. A template
// that never ends is cut off here, by the engine; one that takes all memory ends this process and no other.
//
// Invariants
//   TP1  Every job is answered, in order, unless the process dies of it.
//   TP2  A template sees what is given to it and the functions that templates are promised, nothing of the host.
//   TP3  It ends when the channel to whoever started it closes: nothing else keeps it alive.

import { Script } from 'node:vm'
import { Environment, Interpreter, Template } from '@huggingface/jinja'
import { strftime } from './strftime.js'
import type { TemplateAnswer, TemplateJob, TemplateReady } from './template-renderer.js'

let parsed: { readonly source: string; readonly template: Template } | undefined

function templateOf(source: string): Template {
  if (parsed?.source !== source) parsed = { source, template: new Template(source) }
  return parsed.template
}

const MAX_RANGE = 100_000

/** Python's `range`, as a list. */
function range(first: number, second?: number, step = 1): number[] {
  const [start, stop] = second === undefined ? [0, first] : [first, second]
  const length = Math.max(0, Math.ceil((stop - start) / step))
  if (!(length <= MAX_RANGE)) throw new Error(`range of ${length} items: at most ${MAX_RANGE}`)
  return Array.from({ length }, (_, i) => start + i * step)
}

/** What templates are promised, as the reference gives it; all but the date is a function of the arguments. */
const globalsAt = (nowMs: number): Readonly<Record<string, unknown>> => ({
  ...{ true: true, True: true, false: false, False: false, none: null, None: null, range },
  raise_exception: (message: unknown) => {
    throw new Error(String(message))
  },
  strftime_now: (format: unknown) => strftime(String(format), new Date(nowMs)),
})

/** What is used of the interpreter; the library's own declarations do not resolve under Node's module resolution. */
type EnvironmentConstructor = new () => { set(name: string, value: unknown): void }
type InterpreterConstructor = new (environment: object) => { run(program: unknown): { readonly value: unknown } }

function render(source: string, values: TemplateJob['values'], nowMs: number): string {
  const Globals = Environment as EnvironmentConstructor // see EnvironmentConstructor
  const Runner = Interpreter as InterpreterConstructor // see InterpreterConstructor
  const environment = new Globals()
  for (const [name, value] of Object.entries({ ...globalsAt(nowMs), ...values })) environment.set(name, value)
  return String(new Runner(environment).run(templateOf(source).parsed).value)
}

/** Whatever the function does, it ends after that time. */
function bounded<T>(timeoutMs: number, work: () => T): T {
  Object.assign(globalThis, { work })
  return new Script('work()').runInThisContext({ timeout: timeoutMs }) as T // what `work` returns
}

function answer({ source, values, nowMs, timeoutMs, maxCharacters }: TemplateJob): TemplateAnswer {
  try {
    const text = bounded(timeoutMs, () => render(source, values, nowMs))
    if (text.length <= maxCharacters) return { text }
    return { problem: 'length', message: `the prompt has ${text.length} characters, at most ${maxCharacters}` }
  } catch (error) {
    const isTimeout = error instanceof Error && 'code' in error && error.code === 'ERR_SCRIPT_EXECUTION_TIMEOUT'
    if (isTimeout) return { problem: 'timeout', message: `it did not end within ${timeoutMs} ms` }
    return { problem: 'refusal', message: error instanceof Error ? error.message.slice(0, 1000) : '' }
  }
}

for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => undefined) // it ends with whoever started it

process.on('message', (job: TemplateJob) => process.send?.(answer(job)))
const ready: TemplateReady = { isReady: true }
process.send?.(ready)
