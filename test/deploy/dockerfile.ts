// Dockerfiles and .dockerignore as data, as far as ours go: no heredocs, no escapes but the backslash at a line's end.

import { posix } from 'node:path'

export interface Instruction {
  readonly name: string // upper case
  readonly words: string // what follows the name and its flags, lines joined
  readonly flags: Readonly<Record<string, string>> // --from=app
  readonly line: number
}

export interface Stage {
  readonly name: string
  readonly from: string // an image with its tag, or the name of an earlier stage
  readonly instructions: readonly Instruction[]
}

export interface Copy {
  readonly from?: string | undefined // a stage; absent: the build context
  readonly sources: readonly string[]
  readonly target: string // absolute; ends with / where it names a folder
}

export interface Dockerfile {
  readonly args: Readonly<Record<string, string>> // defaults of those before the first stage
  readonly stages: readonly Stage[]
}

export function parseDockerfile(text: string): Dockerfile {
  const args: Record<string, string> = {}
  const stages: (Stage & { instructions: Instruction[] })[] = []
  for (const instruction of instructionsOf(text)) {
    const stage = stages.at(-1)
    if (instruction.name === 'FROM') {
      const [image = '', , name = String(stages.length)] = instruction.words.split(/\s+/)
      stages.push({ name, from: withArgs(image, args), instructions: [] })
    } else if (stage !== undefined) stage.instructions.push(instruction)
    else if (instruction.name === 'ARG') {
      const [name = '', value = ''] = instruction.words.split('=')
      args[name] = value
    } else
      throw new Error(`line ${instruction.line}: want FROM or ARG before the first stage, found ${instruction.name}`)
  }
  return { args, stages }
}

const withArgs = (text: string, args: Readonly<Record<string, string>>): string =>
  text.replace(/\$\{(\w+)\}/g, (whole, name: string) => args[name] ?? whole)

function instructionsOf(text: string): Instruction[] {
  const found: Instruction[] = []
  let open: { line: number; text: string } | undefined
  for (const [i, raw] of text.split('\n').entries()) {
    if (/^\s*(#|$)/.test(raw)) continue // also within a continued instruction
    open ??= { line: i + 1, text: '' }
    open.text += raw.replace(/\\$/, ' ')
    if (raw.endsWith('\\')) continue
    found.push(instructionOf(open.text, open.line))
    open = undefined
  }
  if (open !== undefined) throw new Error(`line ${open.line}: want an instruction that ends, found a backslash`)
  return found
}

function instructionOf(text: string, line: number): Instruction {
  const [, name = '', flagWords = '', words = ''] = /^\s*(\w+)\s+((?:--[\w-]+=\S+\s+)*)(.*)$/s.exec(text) ?? []
  const flags: Record<string, string> = {}
  for (const [, key = '', value = ''] of flagWords.matchAll(/--([\w-]+)=(\S+)/g)) flags[key] = value
  return { name: name.toUpperCase(), words: words.replace(/\s+/g, ' ').trim(), flags, line }
}

/** The stage of that name. */
export function stageOf({ stages }: Dockerfile, name: string): Stage {
  const stage = stages.find((candidate) => candidate.name === name)
  if (stage === undefined) throw new Error(`want a stage ${name}, found ${stages.map((s) => s.name).join(', ')}`)
  return stage
}

/** The instructions that make a stage, those of the stages that it begins with first. */
export function chainOf(file: Dockerfile, stage: Stage): readonly Instruction[] {
  const base = file.stages.slice(0, file.stages.indexOf(stage)).find(({ name }) => name === stage.from)
  return [...(base === undefined ? [] : chainOf(file, base)), ...stage.instructions]
}

/** A COPY as it stands in a stage whose working folder is `workdir`. */
export function copyOf({ words, flags }: Instruction, workdir: string): Copy {
  const parts = words.split(' ')
  const target = posix.resolve(workdir, parts.at(-1) ?? '')
  return {
    from: flags.from,
    sources: parts.slice(0, -1),
    target: parts.at(-1)?.endsWith('/') === true ? `${target}/` : target,
  }
}

/** Whether a file of the build context reaches the builder: the last pattern that names it or a folder above it says so. */
export function reachesBuilder(ignore: string, path: string): boolean {
  const folders = path.split('/').map((_, i, parts) => parts.slice(0, i + 1).join('/'))
  let reaches = true
  for (const line of ignore.split('\n').map((text) => text.trim())) {
    if (line === '' || line.startsWith('#')) continue
    const isException = line.startsWith('!')
    const pattern = patternOf(isException ? line.slice(1) : line)
    if (folders.some((folder) => pattern.test(folder))) reaches = isException
  }
  return reaches
}

const patternOf = (glob: string): RegExp =>
  new RegExp(
    `^${glob
      .replace(/[.+^$()|[\]{}]/g, '\\$&')
      .replaceAll('**/', '\0')
      .replaceAll('*', '[^/]*')
      .replaceAll('?', '[^/]')
      .replaceAll('\0', '(?:.*/)?')}$`,
  )
