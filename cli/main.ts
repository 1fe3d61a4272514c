#!/usr/bin/env node
// The `banyan` command: runs it, reports what failed in one line, exits with 0, 1, 2 or 130.

import { CommanderError } from 'commander'
import { ClusterError } from '../lib/errors.js'
import { createProgram, fromCommander } from './program.js'
import { reportError, usageError } from './report-error.js'

const LAST_HANDLES_MS = 1_000

let exitCode = 0

/** `banyan word` would reach `up` with a word too many; it was meant as a command. */
function requireKnownCommand(program: ReturnType<typeof createProgram>, word: string | undefined): void {
  if (word === undefined || word.startsWith('-') || word === 'help') return
  const names = program.commands.map((command) => command.name())
  if (!names.includes(word)) throw usageError(`${word}: no such command; want one of ${names.join(', ')}`)
}

async function main(words: readonly string[]): Promise<void> {
  const program = createProgram((code) => {
    exitCode = code
  })
  try {
    requireKnownCommand(program, words[0])
    await program.parseAsync([...words], { from: 'user' })
  } catch (thrown) {
    const error = thrown instanceof CommanderError ? fromCommander(thrown) : thrown
    if (error !== undefined) exitCode = report(error)
  }
}

function report(error: unknown): number {
  const isDebug = ['debug', 'trace'].includes(process.env.LOG_LEVEL ?? '')
  return reportError(error, { write: (text) => process.stderr.write(text), isDebug })
}

// The compute engine reports to its maker unless told otherwise, and leaves files behind in doing so.
process.env.ORT_DISABLE_TELEMETRY ??= '1'
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // A reader that has seen enough (`banyan generate … | head`) is no failure.
  if (error.code === 'EPIPE') process.exit(0)
  process.exit(report(new ClusterError('failed_precondition', `stdout: want a place for the result, ${error.message}`)))
})
await main(process.argv.slice(2))
process.exitCode = exitCode
// What a command left open must not keep the terminal; a child notices the broken channel and leaves.
setTimeout(() => process.exit(exitCode), LAST_HANDLES_MS).unref()
