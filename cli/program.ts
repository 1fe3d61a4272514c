// The commands, their flags and help. What a command does is in `commands/`.

import { Argument, Command, type CommanderError } from 'commander'
import { VERSION } from '../lib/config/version.js'
import { SETTING_NAMES, SETTINGS } from '../lib/config/settings.js'
import { addClusterFlags, collect, helpOf, type Flags } from './cluster-flags.js'
import { addFetch } from './fetch/add-fetch.js'
import { addReplay } from './replay/add-replay.js'
import { addDeploy } from './deploy/add-deploy.js'
import { parseReal, parseUint64, parseWhole } from './parse.js'
import { addTrace } from './trace/add-trace.js'
import { usageError } from './report-error.js'

const EXAMPLES = `
Examples:
  banyan                                        the bundled model on this machine
  banyan up --model ./olmoe --experts 4 --transport nats
  banyan generate "export interface " --max-tokens 64 --seed 7 --json
  banyan generate - --url http://127.0.0.1:8000 < prompt.txt
  banyan status
  banyan scale --experts 4 --replicas 2
`

const MORE_ENVIRONMENT: readonly (readonly [string, string])[] = [
  ['BANYAN_NATS_SERVER', 'nats-server binary to run where none is named by URL'],
  ['BANYAN_CACHE', 'folder for what is fetched once (default: ~/.cache/banyan)'],
  ['BANYAN_FETCH_TOKEN', 'fetch: bearer token to send, over https alone'],
  ['BANYAN_ID', 'serve: id of the process, unique in its cluster'],
  ['NO_COLOR', 'no colours'],
]

function environmentHelp(): string {
  const settings = SETTING_NAMES.map((name): readonly [string, string] => [SETTINGS[name].env, helpOf(name)])
  const lines = [...settings, ...MORE_ENVIRONMENT].map(([name, help]) => `  ${name.padEnd(30)}${help}`)
  return [
    '',
    'Environment (flags come first; BANYAN_API_KEYS is a file or a list with commas):',
    ...lines,
    EXAMPLES,
  ].join('\n')
}

type Run = (flags: Flags, ...words: string[]) => Promise<number>

/** Builds the program; `onExit` gets a command's exit code. */
export function createProgram(onExit: (code: number) => void): Command {
  const program = new Command('banyan')
    .description(
      'Serves mixture-of-experts language models from a cluster of small processes, with bit-identical answers.',
    )
    .version(VERSION, '--version')
    .addHelpText('after', environmentHelp)
    .showHelpAfterError(false)
    .enablePositionalOptions() // a command's flags are its own, also where its own command has one of that name
  // Commander passes the arguments, then the options, then the command itself.
  const runs =
    (run: Run) =>
    async (...passed: unknown[]): Promise<void> => {
      const words = passed.slice(0, -2).filter((word) => typeof word === 'string')
      onExit(await run(passed.at(-2) as Flags, ...words)) // commander's options object
    }
  addServing(program, runs)
  addResults(program, runs)
  addScale(program, runs)
  addExport(program, runs)
  addFetch(program, runs)
  addReplay(program, runs)
  addTrace(program, runs)
  addDeploy(program, runs)
  for (const command of [program, ...program.commands, ...program.commands.flatMap(({ commands }) => commands)]) {
    command.exitOverride().configureOutput({ outputError: () => undefined }) // reported once, by `main.ts`
  }
  return program
}

type Wire = (run: Run) => (...passed: unknown[]) => Promise<void>

function addServing(program: Command, runs: Wire): void {
  addClusterFlags(
    program
      .command('up', { isDefault: true })
      .description('the whole cluster on this machine (what `banyan` alone does)'),
  )
    .option('--json', 'print the URLs as JSON')
    .action(runs(async (flags) => (await import('./commands/up.js')).up(flags)))
  const role = new Argument('<ROLE>', 'router, attention, expert-worker or drafter')
  addClusterFlags(program.command('serve').description('one service, as a container runs it').addArgument(role))
    .option('--json', 'with --print-config: as JSON')
    .action(runs(async (flags, name = '') => (await import('./commands/serve.js')).serve(name, flags)))
}

function addResults(program: Command, runs: Wire): void {
  addClusterFlags(program.command('generate').description('one completion, streamed to standard output'))
    .argument('[PROMPT]', 'the prompt; - reads standard input')
    .option('--url <URL>', 'a running cluster: its HTTP URL, or host:port of its gRPC door')
    .option('--tls-ca <FILE>', 'with --url: trust the server by these certificates; --tls-cert and --tls-key are ours')
    .option('--tokens <IDS>', 'token ids instead of a text: 1,2,3')
    .option(
      '--max-tokens <N>',
      'tokens to generate at most (default: the rest of the context; over HTTP 16)',
      parseWhole('--max-tokens'),
    )
    .option('--temperature <T>', 'randomness, 0: none', parseReal('--temperature'))
    .option('--top-p <P>', 'keep the likeliest tokens up to this probability', parseReal('--top-p'))
    .option('--top-k <K>', 'keep the K likeliest tokens', parseWhole('--top-k'))
    .option('--min-p <P>', 'keep tokens at least so likely beside the likeliest', parseReal('--min-p'))
    .option('--seed <SEED>', 'uint64; the same seed gives the same tokens', parseUint64('--seed'))
    .option('--n <N>', 'choices', parseWhole('--n'))
    .option<readonly string[]>('--stop <TEXT>', 'end before this text; may be repeated', (item, before) =>
      collect(item, before),
    )
    .option('--ignore-eos', 'go on after the end token')
    .option('--chat', 'the prompt is a chat message of the user')
    .option('--show-trees', 'draw what was drafted at each step and what became of it')
    .option('--json', 'print the result as JSON')
    .action(runs(async (flags, prompt) => (await import('./commands/generate.js')).generate(prompt, flags)))
  addClusterFlags(program.command('logits').description('logits of every prompt token, to a safetensors file'))
    .argument('<MODEL>', 'model folder or GGUF file')
    .option('--tokens <IDS>', 'token ids: 1,2,3')
    .option('--out <FILE>', 'file to write')
    .option('--json', 'print what was written as JSON')
    .action(runs(async (flags, model = '') => (await import('./commands/logits.js')).logits(model, flags)))
  program
    .command('inspect <MODEL>')
    .description('what a checkpoint is, what it takes, and what weight formats cost its matrices')
    .option('--matrices', 'measure every matrix, one by one')
    .option('--perplexity', 'perplexity of the model’s sample.txt in every weight format')
    .option('--text <FILE>', 'perplexity of this text')
    .option('--json', 'print it as JSON')
    .action(runs(async (flags, model = '') => (await import('./commands/inspect.js')).inspect(model, flags)))
  program
    .command('doctor')
    .description('what this machine can do, and what to do about what is missing')
    .option('--json', 'print it as JSON')
    .action(runs(async (flags) => (await import('./commands/doctor.js')).doctor(flags)))
  program
    .command('status')
    .description('the cluster as a table')
    .option('--url <URL>', 'HTTP URL of a router (default: http://127.0.0.1:8000)')
    .option<readonly string[]>('--api-key <KEY>', 'key to send', (item, before) => collect(item, before))
    .option('--tls-ca <FILE>', 'trust an https URL by these certificates')
    .option('--tls-cert <FILE>', 'certificate to show')
    .option('--tls-key <FILE>', 'key of that certificate')
    .option('--json', 'print it as JSON')
    .action(runs(async (flags) => (await import('./commands/status.js')).status(flags)))
}

function addScale(program: Command, runs: Wire): void {
  program
    .command('scale')
    .description('other sizes for a running cluster, without dropping a request; returns when it has them')
    .option('--url <URL>', 'HTTP URL of a router (default: http://127.0.0.1:8000)')
    .option('--ready-file <FILE>', 'the ready file that `up` wrote, instead of a URL')
    .option('--experts <N>', 'expert workers', parseWhole('--experts'))
    .option('--attention <N>', 'attention workers', parseWhole('--attention'))
    .option('--drafters <N>', 'drafter processes', parseWhole('--drafters'))
    .option('--routers <N>', 'router processes', parseWhole('--routers'))
    .option('--replicas <N>', 'expert workers that hold each shard', parseWhole('--replicas'))
    .option('--timeout-ms <N>', 'how long to wait for it (default: 120000)', parseWhole('--timeout-ms'))
    .option<readonly string[]>('--api-key <KEY>', 'key to send', (item, before) => collect(item, before))
    .option('--tls-ca <FILE>', 'trust an https URL by these certificates')
    .option('--tls-cert <FILE>', 'certificate to show')
    .option('--tls-key <FILE>', 'key of that certificate')
    .option('--json', 'print what was and what is as JSON')
    .action(runs(async (flags) => (await import('./commands/scale.js')).scale(flags)))
}

function addExport(program: Command, runs: Wire): void {
  const command = program
    .command('export')
    .description('a checkpoint in the format of another program')
    .argument('[FORMAT]')
    .action((format?: string) => {
      throw usageError(`export: want gguf, found ${format ?? 'no format'}`)
    })
  command
    .command('gguf <MODEL>')
    .description('one GGUF file, for llama.cpp')
    .option('--out <FILE>', 'file to write')
    .option('--weights <WIDTH>', 'f32, f16, int8 (Q8_0) or int4 (Q4_0)', 'int8')
    .option('--json', 'print what was written as JSON')
    .action(runs(async (flags, model = '') => (await import('./commands/export.js')).exportGguf(model, flags)))
}

/** Commander's complaint as a usage error; undefined where it only printed help or the version. */
export function fromCommander(error: CommanderError): Error | undefined {
  if (error.exitCode === 0) return undefined
  return usageError(error.message.replace(/^error: /, ''))
}
