// `banyan replay` and its flags on the program.

import type { Command } from 'commander'
import { addClusterFlags, type Flags } from '../cluster-flags.js'
import { parseReal, parseUint64, parseWhole } from '../parse.js'

type Wire = (run: (flags: Flags, ...words: string[]) => Promise<number>) => (...passed: unknown[]) => Promise<void>

/** `--http` and `--grpc` of an embedded cluster are nobody's business: it lives for the call. */
const NOT_OF_A_CALL = ['http', 'grpc', 'readyFile']

export function addReplay(program: Command, runs: Wire): void {
  const command = addClusterFlags(program.command('replay'), NOT_OF_A_CALL)
    .description('recorded traffic again: a load test with a report, or a proof that every answer is the same')
    .argument('<TRACE>', 'a trace file or a folder of them, of any known format')
    .enablePositionalOptions()
  addEndpoint(command)
  addSchedule(command)
  addReport(command)
  command.action(runs(async (flags, trace = '') => (await import('../commands/replay.js')).replay(trace, flags)))
  command
    .command('compare <A> <B>')
    .description('two reports side by side; exit 1 where B is worse than A beyond the bound')
    .option('--bound <PERCENT>', 'how much worse is a regression: 5% or 0.05', '5%')
    .option('--seed <SEED>', 'of the bootstrap', parseUint64('--seed'))
    .option('--json', 'print the comparison as JSON')
    .action(
      runs(async (flags, a = '', b = '') => (await import('../commands/replay-compare.js')).replayCompare(a, b, flags)),
    )
}

function addEndpoint(command: Command): void {
  command
    .option(
      '--url <URL>',
      'any OpenAI-compatible endpoint (without --url and --grpc: a cluster that lives for the call)',
    )
    .option('--grpc <ADDR>', "host:port of a Banyan cluster's gRPC door")
    .option('--tls-ca <FILE>', 'trust the endpoint by these certificates; --tls-cert and --tls-key are ours')
    .option('--prompts <FORM>', 'made prompts go as ids or as text', 'ids')
    .option('--block-tokens <N>', "prompt tokens per hash of the trace's blocks", parseWhole('--block-tokens'))
    .option('--skip-bad', 'leave broken lines of the trace out instead of failing')
    .option('--connect-timeout-ms <N>', 'time for a connection (default: 10000)', parseWhole('--connect-timeout-ms'))
    .option(
      '--first-byte-timeout-ms <N>',
      'time to the first sign of an answer (default: 60000)',
      parseWhole('--first-byte-timeout-ms'),
    )
    .option('--chunk-timeout-ms <N>', 'time between two chunks (default: 60000)', parseWhole('--chunk-timeout-ms'))
    .option('--timeout-ms <N>', 'time for a whole request (default: 600000)', parseWhole('--timeout-ms'))
}

function addSchedule(command: Command): void {
  command
    .option('--speedup <X>', 'recorded arrivals, X times as fast (default: 1)', parseReal('--speedup'))
    .option('--rate <R>', 'requests a second instead of the recorded arrivals', parseReal('--rate'))
    .option('--arrival <KIND>', 'with --rate: poisson, gamma or constant (default: poisson)')
    .option(
      '--burstiness <B>',
      "gamma's shape: below 1 burstier than poisson, above smoother (default: 0.5)",
      parseReal('--burstiness'),
    )
    .option('--concurrency <N>', 'so many requests at any time instead: a closed loop', parseWhole('--concurrency'))
    .option('--seed <SEED>', 'of arrivals and made prompts (default: 0)', parseUint64('--seed'))
    .option('--sessions', 'a turn of a conversation waits for the one before it, and its think time')
    .option('--max-think-ms <N>', 'think time at most (default: 15000)', parseWhole('--max-think-ms'))
    .option('--start <S>', "seconds of the trace's time; requests before it are left out", parseReal('--start'))
    .option('--end <S>', 'requests from here on are left out', parseReal('--end'))
    .option('--limit <N>', 'so many requests', parseWhole('--limit'))
    .option(
      '--max-in-flight <N>',
      'open loop: what is due beyond it is given up, and the run fails (default: 4096)',
      parseWhole('--max-in-flight'),
    )
    .option(
      '--max-lateness <MS>',
      'p99 of how late requests may be sent before the run fails (default: 500)',
      parseReal('--max-lateness'),
    )
}

function addReport(command: Command): void {
  command
    .option('--check', 'compare every answer with the recorded one, token by token')
    .option('--goodput <GOALS>', 'count requests that meet all, in milliseconds: "ttft:500 tpot:50" (also itl, e2e)')
    .option('--out <DIR>', "write the report there: AIPerf's files and a page")
    .option('--json', 'print the summary as JSON')
}
