// `banyan trace show`: one request's waterfall in the terminal, from its spans and its record.

import pc from 'picocolors'
import {
  drawWaterfall,
  findRequest,
  waterfallOf,
  type DrawnLine,
  type FoundRequest,
  type PieceStyle,
} from '../../replay/src/index.js'
import type { Flags } from '../cluster-flags.js'
import { print, printJson } from '../terminal.js'

const DEFAULT_WIDTH = 100 // where stdout is no terminal
const MIN_WIDTH = 40
const MAX_ROWS = 200 // beyond, only the first and the slowest step are unfolded

export async function traceShow(path: string, request: string, flags: Flags): Promise<number> {
  const found = await findRequest(path, request)
  if (flags.json === true) {
    printJson(found)
    return 0
  }
  const waterfall = waterfallOf(found, { maxRows: MAX_ROWS, isWhole: flags.all === true })
  const width = Math.max(MIN_WIDTH, process.stdout.columns ?? DEFAULT_WIDTH)
  print([...headline(found), ...drawWaterfall(waterfall, width).map((line) => paint(line))].join('\n'))
  return 0
}

function headline({ id, record, root }: FoundRequest): string[] {
  const { bold, red, dim } = pc
  if (record === undefined) return [`${bold(id)}${root === undefined ? '' : `  ${root.name}`}`]
  const { model, outcome, prompt, choices, params, error, router, session } = record
  const sum = (of: (choice: (typeof choices)[number]) => number): number =>
    choices.reduce((total, choice) => total + of(choice), 0)
  const state = outcome === 'finished' ? outcome : red(outcome)
  const facts = [
    `${prompt.numTokens} prompt tokens (${prompt.cachedTokens} cached)`,
    `${sum(({ numTokens }) => numTokens)} output tokens in ${sum(({ steps }) => steps)} steps`,
    `${sum(({ accepted }) => accepted)} of ${sum(({ drafted }) => drafted)} drafted accepted`,
    `seed ${params.seed}`,
    ...(router === '' ? [] : [router]),
    ...(session === undefined ? [] : [`session ${session}`]),
  ]
  const failure = error === undefined ? [] : [red(`${error.code}: ${error.message}`)]
  return [`${bold(id)}  ${model}  ${state}`, dim(facts.join(', ')), ...failure]
}

function paint(line: DrawnLine): string {
  const styles: Record<PieceStyle, (text: string) => string> = {
    plain: (text) => text,
    dim: pc.dim,
    bold: pc.bold,
    bar: pc.green,
    alarm: pc.red,
  }
  return line
    .map(({ text, style }) => styles[style](text))
    .join('')
    .trimEnd()
}
