// `banyan trace …` and its flags on the program.

import type { Command } from 'commander'
import { addClusterFlags, collect, type Flags } from '../cluster-flags.js'
import { parseReal, parseWhole } from '../parse.js'
import { usageError } from '../report-error.js'

type Wire = (run: (flags: Flags, ...words: string[]) => Promise<number>) => (...passed: unknown[]) => Promise<void>

const NAMES = 'capture, convert, analyze or show'

export function addTrace(program: Command, runs: Wire): void {
  const trace = program
    .command('trace')
    .description('recorded traffic: capture it, convert it, look at it')
    .argument('[COMMAND]')
    .action((name?: string) => {
      throw usageError(`trace: want ${NAMES}, found ${name ?? 'none of them'}`)
    })
  addCapture(trace, runs)
  addReaders(trace, runs)
}

function addCapture(trace: Command, runs: Wire): void {
  addClusterFlags(trace.command('capture'))
    .description('the requests of a running cluster, as they end; without --url of one that this command starts')
    .option<readonly string[]>('--url <URL>', "a router's HTTP URL; may be repeated", (item, before) =>
      collect(item, before),
    )
    .option('--out <DIR>', 'folder for requests-*.jsonl')
    .option('--seconds <S>', 'end after this time', parseReal('--seconds'))
    .option('--limit <N>', 'end after so many requests', parseWhole('--limit'))
    .option('--content <WHAT>', 'ids, text or hash: what to keep of prompts and answers (default: ids)')
    .option('--tls-ca <FILE>', 'with --url: trust the server by these certificates; --tls-cert and --tls-key are ours')
    .option('--json', 'print what was captured as JSON')
    .action(runs(async (flags) => (await import('../commands/trace-capture.js')).traceCapture(flags)))
}

function addReaders(trace: Command, runs: Wire): void {
  addReading(trace.command('convert <IN>'))
    .description('a trace in another format')
    .option('--to <FORMAT>', 'mooncake, otlp, banyan, dynamo or chrome')
    .option('--out <FILE>', 'file to write, gzipped where its name ends in .gz (default: standard output)')
    .option('--json', 'with --out: print what was written as JSON')
    .action(runs(async (flags, path = '') => (await import('../commands/trace-convert.js')).traceConvert(path, flags)))
  addReading(trace.command('analyze <TRACE>'))
    .description('what a trace is like: rates, burstiness, lengths, shared prefixes, sessions')
    .option('--out <FILE>', 'one HTML page with pictures')
    .option('--json', 'print the figures as JSON')
    .action(runs(async (flags, path = '') => (await import('../commands/trace-analyze.js')).traceAnalyze(path, flags)))
  trace
    .command('show <FILE> <REQUEST>')
    .description("one request's waterfall; REQUEST is an id, the beginning of one, or its place (from 0)")
    .option('--all', 'every span, however many there are')
    .option('--json', 'print its record and spans as JSON')
    .action(
      runs(async (flags, path = '', request = '') =>
        (await import('../commands/trace-show.js')).traceShow(path, request, flags),
      ),
    )
}

const addReading = (command: Command): Command =>
  command
    .option('--skip-bad', 'leave broken lines out instead of failing')
    .option(
      '--block-tokens <N>',
      "prompt tokens per hash, where the trace's format leaves it open",
      parseWhole('--block-tokens'),
    )
