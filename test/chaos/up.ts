// `banyan up` that can be killed and started again at the same ports, and that never outlives this process.

import { guardProcess } from '../../cli/cluster/guard-process.js'
import { upCli, type CliCluster, type CliOptions, type Outcome } from '../helpers/cli.js'

export interface Up {
  readonly cli: CliCluster // that runs, or ran last
  kill(): Promise<void>
  /** After `kill`. */
  again(): Promise<void>
  end(): Promise<Outcome>
}

export async function startUp(words: readonly string[], options: CliOptions): Promise<Up> {
  let cli = await upCli(words, options)
  let guard = guardProcess(cli.pid)
  const end = async (): Promise<Outcome> => {
    const outcome = await cli.end()
    await guard.dismiss()
    return outcome
  }
  return {
    get cli() {
      return cli
    },
    kill: async () => {
      process.kill(cli.pid, 'SIGKILL')
      await end()
    },
    again: async () => {
      cli = await upCli(words, options)
      guard = guardProcess(cli.pid)
    },
    end,
  }
}
