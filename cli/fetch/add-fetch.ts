// The flags of `banyan fetch`.

import type { Command } from 'commander'
import type { Flags } from '../cluster-flags.js'
import { parseWhole } from '../parse.js'

type Wire = (run: (flags: Flags, ...words: string[]) => Promise<number>) => (...passed: unknown[]) => Promise<void>

export function addFetch(program: Command, runs: Wire): void {
  program
    .command('fetch')
    .description('a model folder from a URL, every file verified; goes on where it was interrupted')
    .argument('<URL>', 'https, http or file URL of the folder')
    .option('--to <DIR>', 'folder to fill')
    .option('--sums <FILE>', 'what to fetch: SHA-256 and path a line, as sha256sum writes them')
    .option('--timeout-ms <N>', 'how long it may take in all (default: 7200000)', parseWhole('--timeout-ms'))
    .option('--max-bytes <N>', 'how much it may fetch in all (default: 2199023255552)', parseWhole('--max-bytes'))
    .option('--json', 'print what is there as JSON')
    .action(runs(async (flags, url = '') => (await import('../commands/fetch.js')).fetchCommand(url, flags)))
}
